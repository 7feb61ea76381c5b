"""Write a trial of a sweep as a preset: the best one as conf/experiment/best_STUDY.yaml.

Another trial is chosen by its number: conf/experiment/STUDY_trial_NUMBER.yaml. With the preset, the
pipeline trains the same model as the trial (byte for byte on the same machine), evaluates it on the
test images, and compares it with the champion.

Of a study that `replicate` made, the preset with the best mean is written.
"""

from argparse import ArgumentParser
from pathlib import Path

from pipeline.system import cli


def main() -> None:
    """Write the preset of the named study."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("study", metavar="STUDY", help="the name of a folder in .sweeps")
    parser.add_argument(
        "--trial", type=int, metavar="NUMBER", help="a complete trial; without it, the best one"
    )
    parser.add_argument(
        "--storage", default="", metavar="ADDRESS", help="launcher.storage of the sweep"
    )
    arguments = parser.parse_args()

    from pipeline.config.composition import compose
    from pipeline.config.paths import REPOSITORY, repository_root
    from pipeline.sweeps.storage import database_errors, find_study
    from pipeline.sweeps.task import SWEEPS_FOLDER

    with database_errors():
        folder = repository_root() / SWEEPS_FOLDER / arguments.study
        study = find_study(folder, arguments.study, arguments.storage)

        from pipeline.sweeps.presets import write_preset  # imports the libraries of the plots

        path = write_preset(study, arguments.trial)
    print(f"{path.relative_to(REPOSITORY)}: dvc exp run -S experiment={path.stem}")
    params = Path("params.yaml")
    if params.is_file():
        chosen = compose([f"experiment={path.stem}"]).settings()
        if compose([f"experiment={path.stem}"], params).settings() != chosen:
            print(f"{params} changes some values of this preset: remove them from {params} first")


if __name__ == "__main__":
    cli.run(main)
