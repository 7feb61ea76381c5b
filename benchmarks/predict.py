"""Time `predict` from a cold start, and the models without the start.

Examples:
    python -m benchmarks.predict [--runs 9]

It reads pictures of the validation images with the model of this workspace (`dvc repro`).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks.machine import describe
from pipeline.artifacts.loading import load_main
from pipeline.data.splits import load_split

MODEL = "models/model.keras"
FORMS = (MODEL, "exports/model.onnx", "exports/model_int8.tflite")


def main() -> None:
    """Print the medians, with the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    images = load_split(Path("data/prepared"), "validation").images
    print(describe("tensorflow-cpu", "ai-edge-litert", "onnxruntime"))
    with tempfile.TemporaryDirectory() as folder:
        for number, image in enumerate(images[:1000]):
            Image.fromarray(image).save(f"{folder}/{number}.png")
        for name, files in {"1 file": f"{folder}/0.png", "1,000 files": folder}.items():
            for options in ([], ["--as-is"]):
                command = [sys.executable, "-m", "pipeline.predict", files, *options]
                times = sorted(seconds(command) for _ in range(runs))
                spread = f"{times[0]:.2f} to {times[-1]:.2f}, n={runs}"
                print(f"{name} {' '.join(options)}: {statistics.median(times):.2f} s ({spread})")
    for form in FORMS:
        loaded = load_main(form)
        rates = []
        for _ in range(runs):
            start = time.perf_counter()
            loaded.predictor.answer(images)
            rates.append(len(images) / (time.perf_counter() - start))
        print(f"{form} with {loaded.form}: {statistics.median(rates):,.0f} images a second")


def seconds(command: list[str]) -> float:
    """Run a command; how long it took."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
