"""Complete the MLflow run of what is in the workspace, where the store did not answer before."""

import json
from pathlib import Path

from pipeline import command, config
from pipeline.command import UserError


def main() -> None:
    """Log what `train` and `evaluate` wrote, as far as the store does not have it yet."""
    command.no_arguments(__doc__)
    cfg = config.load(Path("composed.yaml"))
    prepared, models, reports = Path("data/prepared"), Path("models"), Path("reports")
    try:
        metrics = json.loads((reports / "metrics.json").read_text())
    except FileNotFoundError:
        raise UserError(f"there are no {reports}/: run `dvc repro` first") from None
    from pipeline import tracking
    from pipeline.train import configure

    configure(cfg.train.threads)  # a run says how many
    print(tracking.complete(cfg, prepared, models, reports, metrics))


if __name__ == "__main__":
    command.run(main)
