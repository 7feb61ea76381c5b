"""Write a trial of a sweep as a preset: the best one as conf/experiment/best_STUDY.yaml.

Another trial is chosen by its number: conf/experiment/STUDY_trial_NUMBER.yaml. With the preset, the
pipeline trains the same model as the trial (byte for byte on the same machine), evaluates it on the
test images, and compares it with the champion.
"""

import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial

from pipeline.config.composition import compose, group_choices
from pipeline.config.overrides import merge_overrides
from pipeline.config.paths import CONF, REPOSITORY, repository_root
from pipeline.sweeps.storage import Store, database_errors
from pipeline.sweeps.task import SWEEPS_FOLDER
from pipeline.sweeps.trials import (
    HISTORY,
    OVERRIDES,
    THREADS,
    best_trial,
    complete_trials,
    finished_trials,
)
from pipeline.system import cli
from pipeline.system.errors import UserError, nearest
from pipeline.system.files import TEMPORARY, write_text
from pipeline.system.processor import cpu
from pipeline.training.history import best_epoch


def promote(folder: Path, name: str, database: str = "", number: int | None = None) -> Path:
    """Write the preset of a trial of a study.

    Args:
        folder: the folder of the study.
        name: the name of the study.
        database: a PostgreSQL address if the study is in a database, else "".
        number: the number of a complete trial; None for the best one.

    Returns:
        The path of the preset, which composes to the trial's configuration.

    Raises:
        UserError: when the study does not exist, or has no best trial or no such complete trial.
    """
    if not database and not (folder / "journal").exists():
        names = sorted(path.parent.name for path in folder.parent.glob("*/journal"))
        raise UserError(f"no study {name!r} in {folder.parent}{nearest(name, names)}")
    store = Store(folder, name, database)
    try:
        study = store.open()
    except KeyError:
        if not database:
            raise store.damaged("it has no study") from None
        raise UserError(f"no study {name!r} in the database") from None
    if missing := {"settings", "base"} - study.user_attrs.keys():
        raise store.damaged(f"the study has no {' and no '.join(sorted(missing))}")
    trial = _choose(study, name, number)
    if study.user_attrs["settings"]["replicates"]:
        raise UserError(f"{name}: its trials differ only in their seeds, so none is the best")
    threads = trial.user_attrs[THREADS]
    base = merge_overrides(study.user_attrs["base"], [f"train.threads={threads}"])
    overrides = merge_overrides(base, trial.user_attrs[OVERRIDES])
    stem = f"best_{name}" if number is None else f"{name}_trial_{number}"
    path = CONF / "experiment" / f"{stem}.yaml"
    write_text(path, _preset(stem, overrides, _head(stem, study, trial)))
    return path


def _choose(study: optuna.Study, name: str, number: int | None) -> FrozenTrial:
    """The trial of this number, or the best one."""
    best = best_trial(study)
    if best is None:
        raise UserError(f"{name}: no trial is complete")
    if number is None:
        return best
    complete = {trial.number: trial for trial in complete_trials(study)}
    if number not in complete:
        numbers = ", ".join(map(str, sorted(complete)))
        raise UserError(f"{name}: trial {number} is not complete; those that are: {numbers:.200}")
    return complete[number]


def _preset(name: str, overrides: list[str], head: str) -> str:
    """The text of a preset that composes to the same configuration as the overrides.

    Raises:
        UserError: when an override removes a key, which a preset cannot express.
    """
    wanted = compose(overrides)
    picked = [{f"override /{group}": file} for group, file in group_choices(overrides).items()]
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        conf = Path(folder) / CONF.name
        shutil.copytree(CONF, conf)
        path = conf / "experiment" / f"{name}.yaml"
        text = f"# @package _global_\n{head}{_yaml({'defaults': picked})}"
        path.write_text(text)
        given = compose([f"experiment={name}"], conf=conf)
        values = _changes(given.settings(), wanted.settings())
        text += f"\n{_yaml(values)}" if values else ""
        path.write_text(text)
        if compose([f"experiment={name}"], conf=conf).settings() != wanted.settings():
            raise UserError(f"a preset cannot express the overrides {' '.join(overrides)}")
    return text


def _changes(given: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The values to set in `given` so that it equals `wanted`."""
    changes = {}
    for key, value in wanted.items():
        current = given.get(key)
        if isinstance(value, dict) and isinstance(current, dict):
            if inner := _changes(current, value):
                changes[key] = inner
        elif key not in given or current != value:
            changes[key] = value
    return changes


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False)


def _head(name: str, study: optuna.Study, trial: FrozenTrial) -> str:
    row = best_epoch(trial.user_attrs[HISTORY])
    seconds = trial.duration.total_seconds() if trial.duration else 0
    threads = trial.user_attrs[THREADS]
    best = ", the best" if trial.number == study.best_trial.number else ""
    trials = len(finished_trials(study))
    return f"""# Trial {trial.number}{best} of {trials} trials in the sweep {study.study_name}.
#
#   dvc exp run -S experiment={name}
#
# Cost: {seconds:.0f} s of training with {threads} thread{"s" * (threads > 1)}, on {cpu()}
# Validation accuracy: {row["val_accuracy"]!r}, loss {row["val_loss"]!r}, at epoch {row["epoch"]}
"""


def main() -> None:
    """Write the preset of the named study."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("study", metavar="STUDY", help=f"the name of a folder in {SWEEPS_FOLDER}")
    parser.add_argument(
        "--trial", type=int, metavar="NUMBER", help="a complete trial; without it, the best one"
    )
    parser.add_argument(
        "--storage", default="", metavar="ADDRESS", help="launcher.storage of the sweep"
    )
    arguments = parser.parse_args()
    with database_errors():
        folder = repository_root() / SWEEPS_FOLDER / arguments.study
        path = promote(folder, arguments.study, arguments.storage, arguments.trial)
    print(f"{path.relative_to(REPOSITORY)}: dvc exp run -S experiment={path.stem}")
    params = Path("params.yaml")
    if params.is_file():
        chosen = compose([f"experiment={path.stem}"]).settings()
        if compose([f"experiment={path.stem}"], params).settings() != chosen:
            print(f"{params} changes some values of this preset: remove them from {params} first")


if __name__ == "__main__":
    cli.run(main)
