"""The labels of a data set: from the numbers in its files to classes that count from 0."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Data
from pipeline.data.splits import check_class_names
from pipeline.system.errors import UserError

_LISTED = 8  # ranges of labels that an error gives


def to_classes(labels: NDArray[Any], first_label: int) -> NDArray[np.uint8]:
    """Turn the content of a file of labels into classes.

    Args:
        labels: integers of shape (N,), or of shape (N, columns) with the label in the first column.
        first_label: the label of class 0.

    Returns:
        The class of each image, uint8 of shape (N,).

    Raises:
        ValueError: when a label is below `first_label` or above 255.
    """
    numbers = labels.reshape(len(labels), -1)[:, 0]
    if not np.issubdtype(numbers.dtype, np.integer):  # IDX has floats, too
        numbers = numbers.astype(np.int64)
    for wrong, what in (
        (numbers < 0, "negative"),
        (numbers > 255, "above 255"),
        (numbers < first_label, f"below data.first_label, {first_label}"),
    ):
        if wrong.any():
            index = int(wrong.argmax())
            raise ValueError(
                f"label {numbers[index]} of image {index} is {what}; "
                f"the labels are {_listed(set(numbers.tolist()))}"
            )
    return (numbers - first_label).astype(np.uint8)


def check_classes(
    training: NDArray[np.uint8], test: NDArray[np.uint8], data: Data, min_fraction: float
) -> int:
    """Check that the training and the test set have images of all classes.

    Args:
        training, test: the classes of the images, from `to_classes`.
        data: the data set.
        min_fraction: the smallest share of a class in a set.

    Returns:
        The number of classes.

    Raises:
        UserError: for a label that is missing, rare or too large. It lists the labels of the files.
    """
    first = data.first_label
    found = [{first + number for number in np.unique(c).tolist()} for c in (training, test)]
    if len(found[0]) == 1:
        raise UserError(f"all training labels are {_listed(found[0])}: two classes are needed")
    lowest, highest = min(found[0] | found[1]), max(found[0])
    if found[0] == found[1]:
        cause = f"the labels are {_listed(found[0])}"
    else:
        cause = f"the training labels are {_listed(found[0])}, the test labels {_listed(found[1])}"
    if lowest > first:
        raise UserError(f"no image has label {first}: {cause}; set data.first_label: {lowest}")
    if found[0] != found[1]:
        cause += "; both sets need the same labels"
    elif len(found[0]) == highest - first + 1:
        cause += f"; set data.num_classes: {len(found[0])}, or null"
    else:
        cause += "; number them without gaps"
    num_classes = data.num_classes or highest - first + 1
    for name, classes in (("training", training), ("test", test)):
        index = int(np.argmax(classes >= num_classes))
        if classes[index] >= num_classes:
            limit = f"{num_classes} classes from label {first}"
            raise UserError(
                f"{name} label {first + int(classes[index])} of image {index} "
                f"is not one of {limit}: {cause}"
            )
        counts = np.bincount(classes, minlength=num_classes)
        rarest = int(counts.argmin())
        what = f"class {first + rarest} has {counts[rarest]} of {len(classes)} {name} images"
        if counts[rarest] == 0:
            raise UserError(f"{what}: {cause}")
        if counts[rarest] < min_fraction * len(classes):
            raise UserError(f"{what}: prepare.min_class_fraction is {min_fraction}")
    return num_classes


def class_names(data: Data, num_classes: int) -> list[str]:
    """A name for each class: those in the data config, or else the labels.

    Raises:
        UserError: when the data config names more or fewer classes.
    """
    names = data.class_names or [str(data.first_label + n) for n in range(num_classes)]
    check_class_names(names, num_classes)
    return names


def _listed(labels: set[int]) -> str:
    """Labels in ascending order, with ranges, such as "0 to 9, 12"."""
    ranges: list[list[int]] = []
    for label in sorted(labels):
        if ranges and label == ranges[-1][-1] + 1:
            ranges[-1][1:] = [label]
        else:
            ranges.append([label])
    shown = [" to ".join(map(str, ends)) for ends in ranges[:_LISTED]]
    more = [f"and {len(ranges) - _LISTED} more"] if len(ranges) > _LISTED else []
    return ", ".join(shown + more)
