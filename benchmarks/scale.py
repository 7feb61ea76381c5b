"""Time and memory of the stages, as the data grows.

Examples:
    python -m benchmarks.scale [--times 1 10]     # or: make bench-scale

The images of MNIST are written to disk several times, each copy with other pixels in its first
rows, so that none repeats. Then the stages run as in `dvc repro`, with the preset fast; the times
include their imports. The memory is what the process itself holds (RssAnon); pages of files, which
the system may drop, are left out. 100 times the images need 17 GB of disk. Writes
docs/benchmarks/scale.md.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.pages import write_page
from pipeline.config.composition import compose
from pipeline.config.paths import REPOSITORY
from pipeline.config.yaml_files import dump_config
from pipeline.data import idx
from pipeline.sweeps.data import build_data

STAGES = ("prepare", "train", "evaluate")


def main() -> None:
    """Print a row for each size, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    times = parser.parse_args().times
    lines = [
        "| training and test images | prepare | memory | train | memory | evaluate | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for number in times:
        with tempfile.TemporaryDirectory() as folder:
            # A stage uses the store and the checkpoints of the repository whose code it runs.
            subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
            training, test = write_copies(number, Path(folder) / "data" / "raw")
            (Path(folder) / "composed.yaml").write_text(dump_config(compose(["experiment=fast"])))
            cells = [f"{training:,} and {test:,}"]
            for stage in STAGES:
                seconds, megabytes = run_stage(stage, Path(folder))
                cells += [f"{seconds:.1f} s", f"{megabytes:.0f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    write_page("scale", __doc__, lines, describe("numpy", "tensorflow-cpu"))


def write_copies(times: int, raw: Path) -> tuple[int, int]:
    """Write raw files with all images `times` times.

    Returns:
        The numbers of training and of test images.
    """
    cfg = compose([])
    original = build_data(cfg).parent / "raw"
    raw.mkdir(parents=True)
    counts = {}
    for key, file in cfg.data.files.model_dump().items():
        name = file["name"]
        array = idx.parse((original / name).read_bytes())
        counts[key] = times * len(array)
        numbers = np.arange(len(array), dtype=np.uint32).view(np.uint8).reshape(-1, 4)
        with (raw / name).open("wb") as written:
            header = bytearray(idx.dump(array)[: 4 + 4 * array.ndim])
            header[4:8] = counts[key].to_bytes(4, "big")
            written.write(header)
            for copy in range(times):
                changed = array.copy()
                if array.ndim == 3 and times > 1:
                    changed[:, 0, :4] = numbers
                    changed[:, 1, 0] = copy
                written.write(changed.tobytes())
    return counts["train_labels"], counts["test_labels"]


def run_stage(stage: str, folder: Path) -> tuple[float, float]:
    """Run a stage in a folder.

    Returns:
        Its seconds, and the most megabytes that it held.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"pipeline.{stage}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
    )
    largest = 0.0
    while process.poll() is None:
        largest = max(largest, private_megabytes(process.pid))
        time.sleep(0.02)
    if process.returncode:
        sys.exit(process.returncode)
    return time.perf_counter() - started, largest


def private_megabytes(process: int) -> float:
    """The memory of a process that belongs to no file; 0 if it has ended."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(match[1]) / 1024 if match else 0.0


if __name__ == "__main__":
    main()
