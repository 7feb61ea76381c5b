"""Run a sweep. The same command resumes a sweep that was interrupted.

Examples:
    python -m pipeline.sweep                                    # conf/sweep/default.yaml
    python -m pipeline.sweep sweep=depth sweep.trials=30        # another sweep, with 30 trials
    python -m pipeline.sweep sweep.workers=1 train.epochs=3     # keys that all trials share

`sweep.trials` is the total, however often the sweep is resumed. params.yaml applies here as it does
to `dvc repro`.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from pipeline.system import cli


def main() -> None:
    """Check the sweep, then run it."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="in Hydra's grammar")
    arguments = parser.parse_args()

    from pipeline.sweeps.plan import make_plan

    plan = make_plan(arguments.overrides, Path("params.yaml"))

    # Importing MLflow takes seconds. A sweep with a mistake fails before that.
    from pipeline.sweeps.session import run_sweep

    run_sweep(plan)


if __name__ == "__main__":
    cli.run(main)
