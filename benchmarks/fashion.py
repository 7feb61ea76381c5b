"""Accuracy of the presets on Fashion-MNIST.

Examples:
    python -m benchmarks.fashion     # or: make bench-fashion

Each preset is trained as it is, with `data=fashion_mnist` and the seeds from 0 on. All of its
settings were chosen on digits, and none was tuned on clothes. The test set only measures the
finished models. Writes docs/benchmarks/fashion_mnist.md.
"""

from benchmarks.machine import describe
from benchmarks.pages import write_page
from benchmarks.results import accuracy
from benchmarks.seeds import PACKAGES, measure
from pipeline.system.determinism import configure_tensorflow

# The number of seeds. The ensemble trains five networks with each seed.
PRESETS = {"fast": 5, "default": 5, "tiny": 5, "accurate": 5, "ensemble": 1}


def main() -> None:
    """Print a line for each training, and write the page."""
    configure_tensorflow(None)
    lines = ["| configuration | test accuracy, mean ± std | least | seeds |", "|---|---|---|---|"]
    for preset, seeds in PRESETS.items():
        name = f"experiment={preset}"
        row = measure(name, [name, "data=fashion_mnist"], seeds)
        lines.append(f"| `{name}` | {accuracy(row)} | {row['least']:.2f} % | {seeds} |")
    write_page("fashion_mnist", __doc__, lines, describe(*PACKAGES))


if __name__ == "__main__":
    main()
