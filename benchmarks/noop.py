"""Time `dvc repro` with nothing to do, here and in a project of five empty stages, in turn.

Examples:
    python -m benchmarks.noop [--runs 9]

The pipeline must be up to date (`dvc repro`). The ratio shows what it costs DVC to check our files.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

EMPTY = "stages:\n" + "".join(
    f"  stage{n}:\n    cmd: touch out{n}\n    deps: [out{n - 1}]\n    outs: [out{n}]\n"
    for n in range(1, 6)
)


def main() -> None:
    """Print the medians in seconds, and the median ratio of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        (empty / "dvc.yaml").write_text(EMPTY)
        (empty / "out0").touch()
        for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"]):
            subprocess.run(command, cwd=empty, check=True)
        repro(here), repro(empty)  # warm the disk's cache
        pairs = [(repro(here), repro(empty)) for _ in range(runs)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{ours:.2f} s here, {theirs:.2f} s over five empty stages, ratio {ratio:.2f}, n={runs}")


def repro(folder: Path) -> float:
    """Seconds that `dvc repro` takes. Fails if a stage ran, except `compose`, which always runs."""
    started = time.perf_counter()
    done = subprocess.run(
        ["dvc", "repro"], cwd=folder, check=True, capture_output=True, text=True, timeout=600
    )
    seconds = time.perf_counter() - started
    if "Running" in done.stdout.replace("Running stage 'compose'", ""):
        raise SystemExit(f"{folder} was not up to date")
    return seconds


if __name__ == "__main__":
    main()
