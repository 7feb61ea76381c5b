"""Measure the saved model on the test images, once, and complete its MLflow run."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import archive, checkpoint, command, config, data, report
from pipeline.files import remove_parts, write_json


def evaluate(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], calibration_bins: int
) -> dict[str, float]:
    """The metrics of a classifier's answers.

    Args:
        probabilities: of each class, shape (N, classes); a row sums to 1.
        labels: the true classes, shape (N,).
        calibration_bins: equal widths of confidence for the calibration error.

    Returns:
        accuracy and the bounds of its 95 % Wilson score interval (Wilson, 1927); loss, the mean
        negative log-likelihood in nats; macro_f1; calibration_error, the expected calibration error
        (Naeini et al., 2015).
    """
    from scipy.stats import binomtest

    correct = int((probabilities.argmax(1) == labels).sum())
    interval = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    bins = report.calibration(probabilities, labels, calibration_bins)
    gaps = [row["images"] * abs(row["accuracy"] - row["confidence"]) for row in bins]
    per_class = report.per_class(probabilities, labels)
    return {
        "test_accuracy": correct / len(labels),
        "test_accuracy_low": float(interval.low),
        "test_accuracy_high": float(interval.high),
        "test_loss": float(report.losses(probabilities, labels).mean()),
        "test_macro_f1": float(np.mean([row["f1"] for row in per_class])),
        "test_calibration_error": float(sum(gaps) / len(labels)),
    }


def main() -> None:
    """Run the stage: models/ and the test images in, reports/ and the MLflow run completed out."""
    command.no_arguments(__doc__)
    cfg = config.load(Path("composed.yaml"))
    prepared, models, reports = Path("data/prepared"), Path("models"), Path("reports")
    from pipeline import tracking
    from pipeline.train import configure

    configure(cfg.train.threads)
    remove_parts(reports)
    model = archive.load(models / "model.keras")
    test = data.load_split(prepared, "test")
    probabilities = model.predict(data.in_order(test), verbose=0)
    metrics = evaluate(probabilities, test.labels, cfg.evaluate.calibration_bins)
    report.write(
        reports,
        test,
        probabilities,
        cfg.data.class_names or [str(n) for n in range(probabilities.shape[1])],
        cfg.evaluate,
    )
    write_json(reports / "metrics.json", metrics)
    print(
        f"test accuracy {metrics['test_accuracy']:.4f} "
        f"({metrics['test_accuracy_low']:.4f} to {metrics['test_accuracy_high']:.4f}), "
        f"loss {metrics['test_loss']:.4f}"
    )
    try:
        print(tracking.complete(cfg, prepared, models, reports, metrics))
    except tracking.UnreachableError as error:
        print(f"warning: tracking is behind: {error}\n{tracking.CATCH_UP}", file=sys.stderr)
    checkpoint.remove_finished()


if __name__ == "__main__":
    command.run(main)
