"""Log the workspace's test results to MLflow, after the store was unavailable in `evaluate`."""

from pathlib import Path

from pipeline.config.paths import COMPOSED
from pipeline.config.yaml_files import load_config
from pipeline.forms.predictor import EXPORTS
from pipeline.system import cli
from pipeline.training.history import TEST_METRICS, read_metrics


def main() -> None:
    """Log the results of `train` and `evaluate` that the store does not have yet."""
    cli.no_arguments(__doc__)
    cfg = load_config(Path(COMPOSED))
    reports = Path("reports")
    metrics = read_metrics(reports / "metrics.json", TEST_METRICS)
    metrics |= read_metrics(reports / "forms.json", [])

    from pipeline.system.determinism import configure_tensorflow
    from pipeline.training.run_completion import log_evaluation

    threads = configure_tensorflow(cfg.train.threads)
    folders, prepared = [reports, Path(EXPORTS)], Path("data/prepared")
    models = Path("models")
    print(log_evaluation(cfg, prepared, models, folders, metrics, threads, is_new=False))


if __name__ == "__main__":
    cli.run(main)
