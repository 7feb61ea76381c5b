"""Evaluate the saved model on the test images, once, and add the results to its MLflow run."""

from pathlib import Path

from pipeline.config.paths import COMPOSED
from pipeline.config.yaml_files import load_config
from pipeline.forms.predictor import EXPORTS
from pipeline.system import cli
from pipeline.system.colour import print_warning
from pipeline.training.history import VALIDATION_METRICS, best_epoch, read_history, read_metrics


def main() -> None:
    """Run the stage: write reports/ and exports/ from models/ and the test images."""
    cli.no_arguments(__doc__)
    cfg = load_config(Path(COMPOSED))
    prepared, models, reports = Path("data/prepared"), Path("models"), Path("reports")
    # The MLflow run may need them. If they are damaged, nothing is written.
    read_metrics(models / "metrics.json", VALIDATION_METRICS)
    history = read_history(models / "history.csv")

    from pipeline.artifacts.answers import probabilities_of
    from pipeline.artifacts.keras_file import load_model
    from pipeline.data.labels import class_names
    from pipeline.data.splits import load_split, load_stats
    from pipeline.evaluation.corruptions import robust_accuracies
    from pipeline.evaluation.metrics import accuracy_without_label_errors, evaluate_predictions
    from pipeline.evaluation.network import describe_model
    from pipeline.evaluation.report import write_report
    from pipeline.evaluation.summary import Summary, write_summary
    from pipeline.forms.export import export_forms
    from pipeline.forms.parity import compare_forms, fastest_answer
    from pipeline.system.determinism import configure_tensorflow
    from pipeline.system.files import remove_parts, sha256, write_json
    from pipeline.tracking.store import CATCH_UP, TrackingUnavailableError
    from pipeline.training.checkpoint import remove_finished
    from pipeline.training.run_completion import log_evaluation

    names = class_names(cfg.data, load_stats(prepared)["num_classes"])
    threads = configure_tensorflow(cfg.train.threads)
    remove_parts(reports)
    model = load_model(models / "model.keras")
    test = load_split(prepared, "test")
    probabilities = probabilities_of(model, test.images)
    metrics = evaluate_predictions(probabilities, test.labels, cfg.evaluate.calibration_bins)
    metrics |= accuracy_without_label_errors(probabilities, test.labels, cfg.data.label_errors)
    write_report(reports, test, probabilities, names, cfg.evaluate)
    exports, images = Path(EXPORTS), load_split(prepared, "train").images
    export_forms(model, models / "model.keras", images, exports)
    forms, speeds = compare_forms(exports, test.images, test.labels, probabilities)
    write_json(reports / "forms.json", forms)
    # The fastest form answers them: there are ten times as many images.
    robust = robust_accuracies(fastest_answer(exports, model), test.images, test.labels)
    robust_mean = sum(robust.values()) / len(robust)
    metrics |= {f"test_robust_{k}": v for k, v in {**robust, "accuracy": robust_mean}.items()}
    write_json(reports / "metrics.json", metrics)
    best, network = best_epoch(history), describe_model(model, models / "model.keras")
    summary = Summary(
        cfg, threads, names, test, probabilities, metrics, robust, history, best, network
    )
    write_summary(reports, summary)
    print(
        f"test accuracy {metrics['test_accuracy']:.4f} "
        f"({metrics['test_accuracy_low']:.4f} to {metrics['test_accuracy_high']:.4f}), "
        f"loss {metrics['test_loss']:.4f}"
    )
    try:
        logged = metrics | forms | speeds
        print(log_evaluation(cfg, prepared, models, [reports, exports], logged, threads))
    except TrackingUnavailableError as error:
        print_warning(f"tracking is incomplete: {error}\n{CATCH_UP}")
    remove_finished(sha256(models / "model.keras"))


if __name__ == "__main__":
    cli.run(main)
