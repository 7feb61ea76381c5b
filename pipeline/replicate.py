"""Train the best trials of a sweep again with other seeds, and compare their means.

The best trial of many was partly lucky. Its mean over new seeds shows how good it is.

Examples:
    python -m pipeline.replicate depth                        # the 3 best, each with 5 seeds
    python -m pipeline.replicate depth --best 2 --seeds 10
    python -m pipeline.promote depth_replicates               # the preset with the best mean

It writes a preset conf/experiment/STUDY_trial_NUMBER.yaml for each of the best trials, and runs the
sweep STUDY_replicates. The same command resumes it, and a larger number of seeds adds trials.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from pipeline.system import cli


def main() -> None:
    """Run the sweep of replicates."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="STUDY", help="the name of a sweep")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="of the launcher, or sweep.workers"
    )
    parser.add_argument("--best", type=int, default=3, help="trials (default: 3)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each (default: 5)")
    arguments = parser.parse_args()
    if min(arguments.best, arguments.seeds) < 1:
        parser.error("--best and --seeds need a number of 1 or more")

    from pipeline.config.composition import compose_sweep
    from pipeline.config.overrides import key_of
    from pipeline.config.paths import repository_root
    from pipeline.sweeps.storage import database_errors, find_study
    from pipeline.sweeps.task import SWEEPS_FOLDER

    for key in map(key_of, arguments.overrides):
        if key != "sweep.workers" and key.split(".")[0] != "launcher":
            parser.error(f"{key}: it takes only sweep.workers and the keys of the launcher")
    storage = compose_sweep(["sweep=seeds", *arguments.overrides]).launcher.storage
    with database_errors():
        folder = repository_root() / SWEEPS_FOLDER / arguments.study
        study = find_study(folder, arguments.study, storage)

        # Importing MLflow takes seconds. A mistake ends before that.
        from pipeline.sweeps.replicates import plan_replicates

        plan = plan_replicates(study, arguments.best, arguments.seeds, arguments.overrides)

    from pipeline.sweeps.session import run_sweep

    run_sweep(plan)


if __name__ == "__main__":
    cli.run(main)
