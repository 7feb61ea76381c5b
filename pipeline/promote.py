"""Make a preset of a search's best trial: conf/experiment/best_STUDY.yaml.

With it the pipeline trains what the trial trained, to the byte on the same machine, evaluates it on
the test images, and lets it compete for champion.
"""

import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig, OmegaConf

from pipeline import command, config
from pipeline.command import UserError
from pipeline.config import CONF, root
from pipeline.files import write_text
from pipeline.space import merge
from pipeline.worker import FOLDER

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def promote(folder: Path, name: str, database: str = "") -> Path:
    """Write the preset of a study's best trial.

    Args:
        folder: of the study.
        name: of the study.
        database: that holds the study, where no folder does.

    Returns:
        The file, which composes to the trial's configuration.

    Raises:
        UserError: when there is no such study, or no best trial in it.
    """
    from pipeline import study

    if not database and not (folder / "journal").is_file():
        names = sorted(path.parent.name for path in folder.parent.glob("*/journal"))
        raise UserError(f"no study {name!r} in {folder.parent}{config.nearest(name, names)}")
    try:
        opened = study.Store(folder, name, database).open()
    except KeyError:
        raise UserError(f"no study {name!r} in the database") from None
    best = study.best(opened)
    if best is None:
        raise UserError(f"{name}: no trial is complete")
    if opened.user_attrs["asked"]["replicates"]:
        raise UserError(f"{name}: its trials differ in their seeds alone, none is the best")
    threads = best.user_attrs[study.THREADS]
    base = merge(opened.user_attrs["base"], [f"train.threads={threads}"])
    overrides = merge(base, best.user_attrs[study.OVERRIDES])
    path = CONF / "experiment" / f"best_{name}.yaml"
    write_text(path, _preset(path.stem, overrides, _head(path.stem, opened, best)))
    return path


def _preset(name: str, overrides: list[str], head: str) -> str:
    """A preset that composes to what overrides compose to.

    Raises:
        UserError: when a preset cannot say it: overrides that remove a key.
    """
    wanted = config.compose(overrides)
    picked = [{f"override /{group}": file} for group, file in config.choices(overrides).items()]
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / CONF.name
        shutil.copytree(CONF, conf)
        path = conf / "experiment" / f"{name}.yaml"
        text = f"# @package _global_\n{head}{_yaml({'defaults': picked})}"
        path.write_text(text)
        given = config.compose([f"experiment={name}"], conf=conf)
        values = _changes(*map(_plain, (given, wanted)))
        text += f"\n{_yaml(values)}" if values else ""
        path.write_text(text)
        if config.compose([f"experiment={name}"], conf=conf) != wanted:
            raise UserError(f"no preset composes to {' '.join(overrides)}")
    return text


def _changes(given: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What is to be set in a mapping so that it is another one."""
    changes = {}
    for key, value in wanted.items():
        there = given.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            if inner := _changes(there, value):
                changes[key] = inner
        elif key not in given or there != value:
            changes[key] = value
    return changes


def _plain(composed: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(composed)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False)


def _head(name: str, opened: Any, best: "FrozenTrial") -> str:
    from pipeline import study
    from pipeline.tracking import cpu

    rows = best.user_attrs[study.HISTORY]
    row = min(rows, key=lambda row: row["val_loss"])
    seconds = best.duration.total_seconds() if best.duration else 0
    threads = best.user_attrs[study.THREADS]
    trials = len(study.counted(opened))
    return f"""# Trial {best.number}, the best of {trials} of the search {opened.study_name}.
#
#   dvc exp run -S experiment={name}
#
# Cost: {seconds:.0f} s of training with {threads} thread{"s" * (threads > 1)}, on {cpu()}
# Validation accuracy: {row["val_accuracy"]!r}, loss {row["val_loss"]!r}, at epoch {row["epoch"]}
"""


def main() -> None:
    """Write the preset of the study that is named."""
    from pipeline import study

    parser = ArgumentParser(description=__doc__)
    parser.add_argument("study", metavar="STUDY", help=f"a folder in {FOLDER}")
    parser.add_argument(
        "--storage", default="", metavar="ADDRESS", help="the search's launcher.storage"
    )
    arguments = parser.parse_args()
    with study.explained():
        path = promote(root() / FOLDER / arguments.study, arguments.study, arguments.storage)
    print(f"{path.relative_to(config.REPOSITORY)}: dvc exp run -S experiment={path.stem}")
    params = Path("params.yaml")
    if params.is_file():
        chosen = config.compose([f"experiment={path.stem}"])
        if config.compose([f"experiment={path.stem}"], params) != chosen:
            print(f"{params} changes some of it: take that out first")


if __name__ == "__main__":
    command.run(main)
