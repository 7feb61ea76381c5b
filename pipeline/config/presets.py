"""A preset together with other picks than its own.

A preset (conf/experiment/) picks files of groups and sets values in them. Its values for a group
describe the file that it picks. With another file they mean something else, or nothing, so they are
left out: `experiment=first_network model=softmax` is a softmax, and not a network of 3 times 500.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from pipeline.config.overrides import key_of, to_grammar
from pipeline.config.paths import CONF, config_groups

PRESET = "experiment"  # the group of presets

Undo = dict[str, list[str]]


def compose_with_hydra(overrides: Sequence[str]) -> DictConfig:
    """The whole configuration, with Hydra's own section."""
    return compose("config", list(overrides), return_hydra_config=True)


def left_out(picks: Sequence[str], conf: Path = CONF) -> Undo:
    """The overrides that undo the preset's values for groups from which another file is picked.

    Args:
        picks: the overrides that pick files, such as `["experiment=first_network", "model=cnn"]`.
        conf: the folder of config groups, with which Hydra is initialized.

    Returns:
        By group, overrides that remove or reset each key that the preset sets. A group without such
        keys is not listed.
    """
    presets = [pick for pick in picks if key_of(pick) == PRESET]
    plain = [pick for pick in picks if not pick.startswith(("+", "~")) and pick not in presets]
    groups = dict(pick.split("=", 1) for pick in plain)
    if not groups or not _sets_values(presets, conf):
        return {}
    own = compose_with_hydra(presets).hydra.runtime.choices
    others = [group for group, choice in groups.items() if own.get(group) != choice]
    if not others:
        return {}
    with_preset = compose_with_hydra(picks)
    choices = with_preset.hydra.runtime.choices
    picked = {*choices} & config_groups(conf) - {PRESET}
    all_picks = [f"{group}={choices[group]}" for group in own if group in picked]
    without = compose_with_hydra([f"~{PRESET}", *all_picks])
    undo = {}
    for group in others:
        if overrides := _changes(group, _plain(with_preset, group), _plain(without, group)):
            undo[group] = overrides
    return undo


def _changes(key: str, given: Any, wanted: Any) -> list[str]:
    """The overrides that turn a section, or a value in it, into another one."""
    if not isinstance(given, dict) or not isinstance(wanted, dict):
        return [] if given == wanted else [f"++{key}={to_grammar(wanted)}"]
    changes = [f"~{key}.{name}" for name in given if name not in wanted]
    for name, value in wanted.items():
        if name in given:
            changes += _changes(f"{key}.{name}", given[name], value)
        else:
            changes.append(f"++{key}.{name}={to_grammar(value)}")
    return changes


def _sets_values(presets: list[str], conf: Path) -> bool:
    """Whether the preset may set values: most compositions have one without, and are quicker."""
    choice = presets[-1].partition("=")[2] if presets else "default"
    path = conf / PRESET / f"{choice}.yaml"
    return path.is_file() and bool(OmegaConf.load(path))


def _plain(config: DictConfig, group: str) -> Any:
    return OmegaConf.to_container(config[group])
