"""The pictures and the page that sum up a training and its evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipeline.config.overrides import is_at_or_below
from pipeline.config.schema import Config
from pipeline.config.stages import tracked_keys
from pipeline.config.yaml_files import dump_values
from pipeline.data.splits import Split
from pipeline.evaluation import figures
from pipeline.evaluation.corruptions import KINDS, corrupt
from pipeline.evaluation.drawing import drawing, save_figure
from pipeline.evaluation.metrics import (
    WITHOUT_LABEL_ERRORS,
    Probabilities,
    calibration,
    confusion,
    mistakes,
    per_class,
    selective_accuracies,
)
from pipeline.evaluation.network import Network
from pipeline.evaluation.page import (
    Illustration,
    confusion_cells,
    illustrate,
    picture,
    write_page,
)
from pipeline.system.files import write_csv
from pipeline.system.seeds import Seeds
from pipeline.system.text import percent


@dataclass(frozen=True)
class Summary:
    """What is known after an evaluation.

    Attributes:
        cfg: the configuration.
        threads: how many threads TensorFlow had.
        class_names: a name for each class.
        test: the test images and labels.
        probabilities: of each class for the test images, float32 of shape (N, classes).
        metrics: the test metrics by name.
        robust: the accuracy on each kind of corrupted test images.
        history: the metrics of each epoch.
        best: those of the epoch whose weights the network has.
        network: what is drawn of the network.
    """

    cfg: Config
    threads: int
    class_names: Sequence[str]
    test: Split
    probabilities: Probabilities
    metrics: Mapping[str, float]
    robust: Mapping[str, float]
    history: Sequence[Mapping[str, float]]
    best: Mapping[str, float]
    network: Network


def write_summary(reports: Path, summary: Summary) -> None:
    """Write corruptions.csv, the pictures, and report.html. Equal results give equal bytes."""
    rows = [{"corruption": kind, "accuracy": value} for kind, value in summary.robust.items()]
    write_csv(reports / "corruptions.csv", rows)
    with drawing([layer.kind for layer in summary.network.layers]):
        illustrations = []
        for name, (figure, title, text, alt) in _figures(summary).items():
            save_figure(figure, reports / f"{name}.png")
            figure.set_layout_engine("none")  # keep the layout, which takes as long as the drawing
            illustrations.append(illustrate(figure, title, text, alt))
        write_page(reports / "report.html", _values(summary, illustrations))


def _figures(summary: Summary) -> dict[str, tuple[Figure, str, str, str]]:
    """The figures by file name, each with its heading, its sentence and its alternative text."""
    metrics, robust, best = summary.metrics, summary.robust, summary.best
    bins = calibration(
        summary.probabilities, summary.test.labels, summary.cfg.evaluate.calibration_bins
    )
    selective = selective_accuracies(summary.probabilities, summary.test.labels)
    examples = {kind: corrupt(summary.test.images[: figures.EXAMPLES], kind) for kind in KINDS}
    worst = min(robust, key=lambda kind: robust[kind])
    gain = ", ".join(f"{percent(value)} without {share:.0%}" for share, value in selective.items())
    return {
        "learning_curves": (
            figures.draw_learning_curves(summary.history, best["epoch"]),
            "How it learned",
            "Where the validation loss rises while the training loss falls, it learns by heart. "
            "The model has the weights of the epoch with the highest validation accuracy.",
            f"Loss, accuracy and learning rate by epoch. The best of {len(summary.history)} epochs "
            f"is {best['epoch']:.0f}, with validation accuracy {percent(best['val_accuracy'])}.",
        ),
        "network": (
            figures.draw_network(summary.network.layers),
            "The network",
            "A box is a layer. Its number is how many nodes or channels it has; above it stands "
            "how many weights and biases.",
            "Layers: " + ", ".join(f"{each.name} {each.shape}" for each in summary.network.layers),
        ),
        "weights": (
            figures.draw_weights(summary.network.weights),
            "What the first layer looks for",
            "Each square is one node: red where light makes it answer, blue where dark does.",
            f"The weights of {len(summary.network.weights)} nodes as small images.",
        ),
        "calibration": (
            figures.draw_calibration(bins, selective, metrics["test_accuracy"]),
            "Does it know when it is wrong?",
            "Left: answers of which it is 90 % sure should be right in 90 % of cases. Right: the "
            "accuracy when a person looks at the images of which it is least sure.",
            f"Expected calibration error {metrics['test_calibration_error']:.4f}; {gain}.",
        ),
        "corruptions": (
            figures.draw_corruptions(examples, robust),
            "Harder images",
            "The test images again, each kind spoilt on purpose, as photos and hands spoil them.",
            f"Mean accuracy {percent(metrics['test_robust_accuracy'])}; the worst kind is {worst}, "
            f"{percent(robust[worst])}.",
        ),
    }


def _values(summary: Summary, illustrations: Sequence[Illustration]) -> dict[str, Any]:
    """What the page names; see page.html.jinja."""
    cfg, metrics, labels = summary.cfg, summary.metrics, summary.test.labels
    model = _short(cfg.model)
    matrix = confusion(summary.probabilities, labels)
    classes = per_class(summary.probabilities, labels)
    accuracy, low = percent(metrics["test_accuracy"]), 100 * metrics["test_accuracy_low"]
    interval = f"{low:.2f} to {percent(metrics['test_accuracy_high'])}"
    return {
        "title": f"{model} on {cfg.data.name}: {accuracy}",
        "sentence": (
            f"It reads {accuracy} of {len(labels):,} test images right; the 95 % interval of this "
            f"is {interval}. {_without_label_errors(summary)}Nothing was chosen by looking at "
            "the test images."
        ),
        "numbers": {
            "test accuracy": accuracy,
            "mistakes": int((summary.probabilities.argmax(1) != labels).sum()),
            "test loss": f"{metrics['test_loss']:.4f}",
            "on harder images": percent(metrics["test_robust_accuracy"]),
            "weights and biases": f"{sum(each.parameters for each in summary.network.layers):,}",
            "epochs": len(summary.history),
        },
        "figures": illustrations,
        "mistakes": _mistakes(summary),
        "wrong": int((summary.probabilities.argmax(1) != labels).sum()),
        "classes": [{**row, "class": summary.class_names[row["class"]]} for row in classes],
        "names": summary.class_names,
        "confusion": confusion_cells(matrix),
        "origin": _origin(summary),
        "configuration": dump_values(_configuration(summary)),
    }


def _without_label_errors(summary: Summary) -> str:
    """A sentence about the accuracy without the labels in doubt; "" if none is known."""
    if WITHOUT_LABEL_ERRORS not in summary.metrics:
        return ""
    count = len(set(summary.cfg.data.label_errors))
    images = "the image" if count == 1 else f"the {count} images"
    accuracy = percent(summary.metrics[WITHOUT_LABEL_ERRORS])
    return f"Without {images} whose label is in doubt, it reads {accuracy} right. "


def _mistakes(summary: Summary) -> list[dict[str, Any]]:
    """The worst mistakes, those with the lowest probability of the right class first."""
    predicted = summary.probabilities.argmax(1)
    shown = mistakes(summary.probabilities, summary.test.labels)
    return [
        {
            "image": int(i),
            "source": picture(summary.test.images[i]),
            "actual": summary.class_names[summary.test.labels[i]],
            "predicted": summary.class_names[predicted[i]],
            "probability": f"{summary.probabilities[i, predicted[i]]:.0%}",
        }
        for i in shown[: summary.cfg.evaluate.worst_mistakes]
    ]


def _origin(summary: Summary) -> dict[str, str]:
    cfg = summary.cfg
    seeds = ", ".join(f"{name} {seed}" for name, seed in vars(Seeds.derive(cfg.train.seed)).items())
    return {
        "optimizer": _short(cfg.optimizer),
        "seed of the training": f"{cfg.train.seed} ({seeds})",
        "seed of the validation split": str(cfg.prepare.seed),
        "SHA-256 of the model file": summary.network.digest,
        "digest of the data": cfg.data.digest,
        "versions": cfg.versions.evaluate,
    }


def _configuration(summary: Summary) -> dict[str, Any]:
    """The settings that can change a result, with the threads that TensorFlow had.

    `reproduce` writes other threads and another path of the initial model into composed.yaml. The
    report must stay the same.
    """
    values = _tracked(summary.cfg.model_dump())
    train = {**values["train"], "threads": summary.threads}
    if train["init_from"]:
        train["init_from"] = "another model"  # whose place may change
    return {**values, "train": train}


def _tracked(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The part of a configuration that can change a result."""
    keys = tracked_keys()
    part = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if is_at_or_below(key, keys):
            part[name] = value
        elif isinstance(value, dict) and any(known.startswith(f"{key}.") for known in keys):
            part[name] = _tracked(value, f"{key}.")
    return part


def _short(section: Mapping[str, Any]) -> str:
    return str(section["_target_"]).rpartition(".")[2]
