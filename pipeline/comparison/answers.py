"""The answers of two models to the same images, and the images on which they differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.artifacts.answers import Answers, answers_of
from pipeline.artifacts.uri import locked_stage
from pipeline.comparison.result import Result
from pipeline.comparison.table import shorten
from pipeline.config.paths import COMPOSED
from pipeline.config.yaml_files import load_config
from pipeline.data.labels import class_names
from pipeline.data.splits import Split, data_digest, load_split, load_stats
from pipeline.evaluation.drawing import drawing, label, save_figure
from pipeline.evaluation.paired import Paired, compare_answers
from pipeline.system.errors import UserError

_COLUMNS = 7
_SHOWN = 14  # images of each case
_NAME_WIDTH = 40


@dataclass(frozen=True)
class Answered:
    """The answers of two models to the validation images of the workspace.

    Attributes:
        images: the validation images and their labels.
        first: the classes that the first model answers.
        second: the classes that the second model answers.
    """

    images: Split
    first: Answers
    second: Answers

    @property
    def paired(self) -> Paired:
        """How the first model compares with the second."""
        return compare_answers(self.first, self.second, self.images.labels)


def print_differences(first: Result, second: Result, prepared: Path, path: Path) -> None:
    """Print how two models compare on the validation images, and draw those on which they differ.

    Args:
        first: the result of the first model.
        second: the result of the other model.
        prepared: folder of the prepared data of the workspace.
        path: the PNG file to write.
    """
    try:
        answered = answer_both(first, second, prepared)
    except UserError as error:
        print(f"\nThe answers of the models are not compared: {error}")
        return
    print(f"\n{first.name} against {second.name}: {answered.paired}")
    if (answered.first != answered.second).any():
        data = load_config(Path(COMPOSED)).data
        classes = class_names(data, load_stats(prepared)["num_classes"])
        # A file without a run may be a model of other data, which has more classes.
        most = int(max(answered.first.max(), answered.second.max())) + 1
        classes += [str(data.first_label + n) for n in range(len(classes), most)]
        draw_differences(answered, (first.name, second.name), classes, path)
        print(f"The images on which they differ: {path}")


def answer_both(first: Result, second: Result, prepared: Path) -> Answered:
    """Let the models of two results answer the validation images.

    Raises:
        UserError: when a result has no model, or one that was trained on other data.
    """
    locked = [out["md5"] for out in locked_stage("prepare").get("outs", [])]
    known = {data_digest(prepared), *locked}
    for result in (first, second):
        if not result.model:
            raise UserError(f"{result.name} has no model")
        if result.data and result.data not in known:
            raise UserError(
                f"{result.name} was trained on other data, so it may have seen the validation "
                "images of the workspace"
            )
    validation = load_split(prepared, "validation")
    answers = (answers_of(result.model, validation.images) for result in (first, second))
    return Answered(validation, *answers)


@drawing()
def draw_differences(
    answered: Answered, names: tuple[str, str], classes: Sequence[str], path: Path
) -> None:
    """Draw images to which two models answer different classes, some for each of three cases.

    Args:
        answered: the answers.
        names: the names of the two models.
        classes: a name for each class.
        path: the PNG file to write.
    """
    one, two = (shorten(name, _NAME_WIDTH) for name in names)
    first, second, labels = answered.first, answered.second, answered.images.labels
    cases = {
        "A is right, B is wrong": (first == labels) & (second != labels),
        "B is right, A is wrong": (first != labels) & (second == labels),
        "Both are wrong": (first != labels) & (second != labels) & (first != second),
    }
    found = {title: np.flatnonzero(mask) for title, mask in cases.items() if mask.any()}
    rows = [math.ceil(min(len(images), _SHOWN) / _COLUMNS) for images in found.values()]
    figure = Figure(figsize=(_COLUMNS * 1.6, 0.6 + sum(1.9 * count + 0.3 for count in rows)))
    figure.set_layout_engine("constrained")
    total = sum(map(len, found.values()))
    figure.suptitle(
        f"{total} of {len(labels)} validation images to which two models answer differently\n"
        f"A is {one}, B is {two}"
    )
    heights = [count + 0.25 for count in rows]
    parts = figure.subfigures(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (title, images), count in zip(parts, found.items(), rows, strict=True):
        more = f"; {_SHOWN} are shown" if len(images) > _SHOWN else ""
        part.suptitle(f"{title}: {len(images)} images{more}", x=0.01, ha="left")
        axes = part.subplots(count, _COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        # Spread over all images, because some data sets are sorted by class.
        chosen = np.linspace(0, len(images) - 1, min(len(images), _SHOWN)).round().astype(int)
        for axis, i in zip(axes, images[chosen], strict=False):
            axis.imshow(answered.images.images[i], cmap="gray_r", vmin=0, vmax=255)
            actual, a, b = (label(classes[n], 9) for n in (labels[i], first[i], second[i]))
            axis.set_title(f"{actual}\nA: {a}, B: {b}", fontsize=9, pad=3)
    save_figure(figure, path)
