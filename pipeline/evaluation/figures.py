"""The figures of a report: each function draws one and returns it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.evaluation.network import Layer

_MOST_NODES = 64  # whose weights are drawn
EXAMPLES = 4  # images of each corruption


def draw_learning_curves(history: Sequence[Mapping[str, float]], best: float) -> Figure:
    """Loss, accuracy and learning rate by epoch, on training and validation images.

    Args:
        history: the metrics of each epoch.
        best: the number of the epoch whose weights were kept.
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    names = ("loss", "accuracy", "learning_rate")
    for axis, name in zip(figure.subplots(1, 3), names, strict=True):
        if name == "learning_rate":
            axis.plot(epochs, [row[name] for row in history], "C2.-")
        else:
            axis.plot(epochs, [row[name] for row in history], "C0.-", label="training")
            axis.plot(epochs, [row[f"val_{name}"] for row in history], "C1.-", label="validation")
            axis.axvline(best, color="C7", linestyle=":", label="best epoch")
            axis.legend()
        axis.set(title=name.replace("_", " ").capitalize(), xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    return figure


def draw_calibration(
    bins: Sequence[Mapping[str, Any]], selective: Mapping[float, float], accuracy: float
) -> Figure:
    """How sure the network is against how often it is right, and what leaving out doubts gains.

    Args:
        bins: as `calibration` gives them.
        selective: accuracy by the share of images that is left out, as `selective_accuracies` has.
        accuracy: on all images.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], "C7:", label="perfect")
    sizes = [20 + 180 * math.sqrt(row["images"] / max(b["images"] for b in bins)) for row in bins]
    points = [row["confidence"] for row in bins], [row["accuracy"] for row in bins]
    left.scatter(*points, sizes, color="C0", alpha=0.8, label="a bin; its area grows with it")
    left.set(title="Is it as sure as it is right?", xlabel="probability", ylabel="accuracy")
    left.legend(loc="upper left")
    rest = {0.0: accuracy, **selective}
    right.plot([100 * share for share in rest], [100 * a for a in rest.values()], "C0.-")
    right.set(
        title="Accuracy without the least sure",
        xlabel="images left out, %",
        ylabel="accuracy of the rest, %",
    )
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def draw_corruptions(
    examples: Mapping[str, NDArray[np.uint8]], accuracies: Mapping[str, float]
) -> Figure:
    """Examples of each corruption, and the accuracy on it.

    Args:
        examples: some images of each kind, uint8 of shape (n, height, width).
        accuracies: the accuracy on each kind, from 0 to 1.
    """
    columns = 5
    rows = math.ceil(len(examples) / columns)
    figure = Figure(figsize=(10, 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, (kind, images) in zip(axes, examples.items(), strict=False):
        half = EXAMPLES // 2 if len(images) == EXAMPLES else len(images)  # a tiny set has fewer
        rows_of = [np.hstack([*images[i : i + half]]) for i in range(0, len(images), half)]
        axis.imshow(np.vstack(rows_of), cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(f"{kind}: {accuracies[kind]:.1%}", fontsize=11)
    return figure


def draw_weights(weights: NDArray[np.float32]) -> Figure:
    """The weights of the first layer, blue for less and red for more; see `first_weights`."""
    shown = weights[:_MOST_NODES]
    height, width = shown.shape[1:]
    columns = min(16, len(shown))
    rows = math.ceil(len(shown) / columns)
    gap = max(height // 8, 1)
    # One picture, because a set of axes for each node takes a second.
    mosaic = np.full((rows * (height + gap), columns * (width + gap)), np.nan, np.float32)
    for place, image in enumerate(shown):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        mosaic[top : top + height, left : left + width] = image
    scale = 9 / mosaic.shape[1]
    figure = Figure(figsize=(9, mosaic.shape[0] * scale + 0.4), layout="constrained")
    figure.suptitle(f"{len(shown)} of {len(weights)} nodes of the first layer with weights")
    limit = float(np.abs(shown).max()) or 1.0
    axis = figure.subplots()
    axis.imshow(mosaic, cmap="coolwarm", vmin=-limit, vmax=limit)
    axis.axis("off")
    return figure


def draw_network(layers: Sequence[Layer]) -> Figure:
    """The layers from left to right: the higher a box, the more nodes; the number of parameters."""
    figure = Figure(figsize=(max(1.0 * len(layers), 4), 3.4), layout="constrained")
    axis = figure.subplots()
    widest = math.log2(max(2, *(layer.width for layer in layers)))
    for place, layer in enumerate(layers):
        # The tallest box leaves room for the words above and below it.
        height = 0.12 + min(0.09, 0.8 / widest) * math.log2(max(layer.width, 1))
        _draw_layer(axis, place, layer, height)
    axis.set(xlim=(-0.6, len(layers) - 0.4), ylim=(-0.75, 0.75))
    axis.axis("off")
    total = sum(layer.parameters for layer in layers)
    figure.suptitle(f"{total:,} weights and biases; the image is on the left")
    return figure


def _draw_layer(axis: Axes, place: int, layer: Layer, height: float) -> None:
    colour = "C0" if layer.trained else "C7"
    box = FancyBboxPatch(
        (place - 0.22, -height / 2),
        0.44,
        height,
        boxstyle="round,pad=0.02",
        facecolor=colour,
        edgecolor=colour,
        alpha=0.55,
    )
    axis.add_patch(box)
    centre: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
    axis.text(place, 0, str(layer.width), **centre)
    copies = f"\nin {layer.copies} networks" if layer.copies > 1 else ""
    axis.text(place, -0.6, f"{layer.kind}\n{layer.shape}{copies}", **centre)
    if layer.parameters:
        axis.text(place, 0.62, f"{layer.parameters:,}", **centre)
    if place:
        axis.annotate(
            "", (place - 0.26, 0), (place - 0.74, 0), arrowprops={"arrowstyle": "->", "color": "C7"}
        )
