"""How well the workspace's model reads pictures that people take, by kind of picture.

Examples:
    python -m benchmarks.pictures [--each 100] [--half tuning] [--write] [--save FOLDER]

The pictures are generated (see `benchmarks.generated_pictures`) from digits of the validation set.
Thresholds of `pipeline.pictures` were chosen on the half named tuning; the other one is reported.
"""

import argparse
import io
import itertools
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.generated_pictures import KINDS, can_be_redrawn, picture_of
from pipeline.artifacts.keras_file import load_model
from pipeline.config.paths import DEFAULT_MODEL
from pipeline.data.splits import Split, load_split
from pipeline.pictures.digit import NoDigitError, find_digit
from pipeline.pictures.files import read_picture

HALVES = ("tuning", "report")
REFUSED = ("blank", "double")  # kinds that must not be answered
PAGE = Path("docs/pictures.md")
MARK = "<!-- the table of benchmarks/pictures.py -->"
LEVELS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 1.01)


@dataclass(frozen=True)
class Reading:
    """What became of one picture.

    Attributes:
        label: the digit that was drawn.
        image: what the model sees; None if the picture was refused.
    """

    kind: str
    number: int
    label: int
    image: NDArray[np.uint8] | None


def main() -> None:
    """Print the share of right answers by kind, and how right answers of a probability are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=100, help="pictures of each kind")
    parser.add_argument("--half", choices=HALVES, default="report")
    parser.add_argument("--kinds", nargs="+", default=[*KINDS, *REFUSED], metavar="KIND")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE}")
    parser.add_argument("--save", type=Path, help="keep the pictures in this folder")
    arguments = parser.parse_args()
    readings = list(read_all(arguments.kinds, arguments.each, arguments.half, arguments.save))
    seen = [reading for reading in readings if reading.image is not None]
    model = load_model(Path(DEFAULT_MODEL), DEFAULT_MODEL)
    images = np.array([reading.image for reading in seen])
    probabilities = model.predict(images, batch_size=1000, verbose=0) if seen else ()
    answers = {id(reading): row for reading, row in zip(seen, probabilities, strict=True)}
    lines = table(readings, answers)
    print("\n".join(lines))
    if arguments.write:
        before, _, after = PAGE.read_text().partition(MARK)
        rest = after.partition(MARK)[2]
        PAGE.write_text("\n\n".join([before + MARK, *[chr(10).join(lines)], MARK]) + rest)


def read_all(kinds: list[str], each: int, half: str, folder: Path | None) -> Iterator[Reading]:
    """Generate pictures and look for their digits."""
    jobs = [(kind, number) for kind in kinds for number in range(each)]
    read = partial(read_one, half=half, folder=folder)
    with ProcessPoolExecutor(initializer=cv2.setNumThreads, initargs=(1,)) as workers:
        yield from workers.map(read, jobs, chunksize=8)


def read_one(job: tuple[str, int], half: str, folder: Path | None) -> Reading:
    """Generate one picture and look for its digit."""
    kind, number = job
    split = digits_of(half)
    rng = np.random.default_rng([zlib.crc32(kind.encode()), number, HALVES.index(half)])
    chosen = rng.integers(len(split.labels), size=2)
    content = picture_of(kind, [split.images[k] for k in chosen], rng)
    try:
        image = find_digit(read_picture(io.BytesIO(content))).image
    except NoDigitError:
        image = None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{kind} {number} {split.labels[chosen[0]]}").write_bytes(content)
    return Reading(kind, number, int(split.labels[chosen[0]]), image)


@cache
def digits_of(half: str) -> Split:
    """The validation digits of a half that can be drawn again with another pen."""
    split = load_split(Path("data/prepared"), "validation")
    start = HALVES.index(half)
    chosen = [k for k in range(start, len(split.labels), 2) if can_be_redrawn(split.images[k])]
    return Split(split.images[chosen], split.labels[chosen])


def table(readings: list[Reading], answers: dict[int, NDArray[np.float32]]) -> list[str]:
    """Markdown tables: right answers by kind, and right answers by probability."""
    lines = ["| kind of picture | right | wrong | refused |", "|---|---|---|---|"]
    total = [0, 0]
    pairs = []
    for kind in dict.fromkeys(reading.kind for reading in readings):
        of_kind = [reading for reading in readings if reading.kind == kind]
        rows = [(r.label, answers[id(r)]) for r in of_kind if r.image is not None]
        right = sum(int(row.argmax() == label) for label, row in rows)
        if kind in REFUSED:
            lines.append(f"| {kind} | | {len(rows)} | **{len(of_kind) - len(rows)}** |")
            continue
        lines.append(f"| {kind} | {right} | {len(rows) - right} | {len(of_kind) - len(rows)} |")
        total = [total[0] + right, total[1] + len(of_kind)]
        pairs += [(float(row.max()), row.argmax() == label) for label, row in rows]
    if total[1]:
        lines.append(f"| **all with one digit** | **{total[0] / total[1]:.1%}** | | |")
    lines += ["", "| probability of the answer | answers | mean probability | right |"]
    lines.append("|---|---|---|---|")
    for low, high in itertools.pairwise(LEVELS):
        inside = [(p, right) for p, right in pairs if low <= p < high]
        if inside:
            mean, share = np.mean([p for p, _ in inside]), np.mean([right for _, right in inside])
            shown = f"{low:g} to {min(high, 1):g}"
            lines.append(f"| {shown} | {len(inside)} | {mean:.3f} | {share:.3f} |")
    return lines


if __name__ == "__main__":
    main()
