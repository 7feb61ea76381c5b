"""Time and memory of `prepare` and of an epoch of `train`, as the data grows.

Examples:
    python -m benchmarks.scale [--times 1 10]     # or: make bench-scale

The training images of MNIST are written to disk several times, each copy with other pixels in its
first rows, so that none repeats. Each measurement is made in a new process. The memory is what the
process itself holds (RssAnon); pages of files, which the system may drop, are left out. 100 times
the images need 15 GB of disk. Writes docs/benchmarks/scale.md.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from pipeline.config.composition import compose
from pipeline.data import idx
from pipeline.prepare import prepare
from pipeline.sweeps.data import build_data
from pipeline.system.files import write_text

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "benchmarks" / "scale.md"


def main() -> None:
    """Print a row for each size, and write the page; with --one, run one stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--one", nargs=2, metavar=("STAGE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_stage(arguments.one[0], Path(arguments.one[1]))))
        return
    lines = [
        "| training images | prepare | memory | an epoch of the preset fast | memory |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for times in arguments.times:
            raw = Path(folder) / "raw"
            images = write_copies(times, raw)
            cells = [f"{images:,}"]
            for stage in ("prepare", "train"):
                result = in_process(stage, Path(folder))
                cells += [f"{result['seconds']:.1f} s", f"{result['megabytes']:.0f} MB"]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    title, _, text = (part.strip() for part in (__doc__ or "").split("\n\n"))
    head = f"# {title.rstrip('.')}\n\n{text}"
    text = f"{head}\n\n{chr(10).join(lines)}\n\n{describe('numpy', 'tensorflow-cpu')}.\n"
    write_text(PAGE, text.replace(" Writes docs/benchmarks/scale.md.", ""))


def write_copies(times: int, raw: Path) -> int:
    """Write raw files with the training images `times` times; return their number."""
    cfg = compose([])
    original = build_data(cfg).parent / "raw"
    raw.mkdir(exist_ok=True)
    for name in (file["name"] for file in cfg.data.files.model_dump().values()):
        array = idx.parse((original / name).read_bytes())
        copies = times if name.startswith("train") else 1
        numbers = np.arange(len(array), dtype=np.uint32).view(np.uint8).reshape(-1, 4)
        with (raw / name).open("wb") as file:
            header = bytearray(idx.dump(array)[: 4 + 4 * array.ndim])
            header[4:8] = (len(array) * copies).to_bytes(4, "big")
            file.write(header)
            for copy in range(copies):
                changed = array.copy()
                if array.ndim == 3 and times > 1:
                    changed[:, 0, :4] = numbers
                    changed[:, 1, 0] = copy
                file.write(changed.tobytes())
        if name == cfg.data.files.train_labels.name:
            count = len(array) * copies
    return count


def in_process(stage: str, folder: Path) -> dict[str, float]:
    """Run a stage in a new process; return its seconds and megabytes."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", stage, str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def run_stage(stage: str, folder: Path) -> dict[str, float]:
    """Run a stage, and watch the memory of this process."""
    largest = [0.0]

    def watch() -> None:
        while True:
            largest[0] = max(largest[0], private_megabytes())
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    cfg = compose(["experiment=fast"])
    if stage == "prepare":
        started = time.perf_counter()
        prepare(cfg.data, cfg.prepare, folder / "raw", folder / "prepared")
    else:
        # Only `train` needs TensorFlow, which holds memory of its own.
        from pipeline.system.determinism import configure_tensorflow
        from pipeline.training.loop import train

        configure_tensorflow(None)
        started = time.perf_counter()
        train(cfg, folder / "prepared")
    return {"seconds": time.perf_counter() - started, "megabytes": largest[0]}


def private_megabytes() -> float:
    """The memory of this process that belongs to no file."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) / 1024


if __name__ == "__main__":
    main()
