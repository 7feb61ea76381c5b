"""Compose the picked files once, and replace values in a copy of the result.

Hydra reads all files of `conf/` each time. A sweep composes thousands of times with the same picks.
"""

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import DictConfig, OmegaConf

from pipeline.config.presets import compose_with_hydra, left_out

Picked = tuple[list[str], dict[str, Any], DictConfig]


def compose_picks(picks: Sequence[str], conf: Path) -> Picked:
    """Compose the picked files, without values on top.

    Args:
        picks: the overrides that pick files.
        conf: the folder of config groups, with which Hydra is initialized.

    Returns:
        The picks with what undoes values of the preset, the file picked from each group, and the
        configuration; do not change them.
    """
    return _compose_picks(tuple(picks), conf, _state_of(conf))


def without_hydra(composed: DictConfig) -> DictConfig:
    """The sections of a configuration without Hydra's own."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def replace_values(picked: DictConfig, values: Sequence[str]) -> DictConfig | None:
    """Replace values in a copy as Hydra does.

    Returns:
        None if that is not all: if a key is new or removed, or a value is a mapping or a sweep.

    Raises:
        HydraException: when a value does not follow Hydra's grammar.
    """
    composed = deepcopy(picked)
    for override in OverridesParser.create().parse_overrides(list(values)):
        replaces = override.type == OverrideType.CHANGE and not override.package
        if not replaces or override.is_sweep_override() or override.is_hydra_override():
            return None
        key, value = override.key_or_group, override.value()
        if isinstance(value, dict) or first_missing(composed, key)[1]:
            return None
        OmegaConf.update(composed, key, value)
    return composed


def first_missing(config: DictConfig, key: str) -> tuple[str, str, list[str]]:
    """The first part of a dotted key that a configuration does not have.

    Returns:
        The key of its parent, the part, and the names that the parent has. If no part is missing:
        the whole key, "" and no names.
    """
    node: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        names = [str(name) for name in node] if isinstance(node, DictConfig) else []
        if part not in names:
            return ".".join(parts[:depth]), part, names
        node = node[part] if not OmegaConf.is_missing(node, part) else None
    return key, "", []


@lru_cache(maxsize=100)
def _compose_picks(picks: tuple[str, ...], conf: Path, state: object) -> Picked:
    """Compose again only when `state` is another one: see `_state_of`."""
    undo = left_out(picks, conf)
    base = [*picks, *(override for group in undo.values() for override in group)]
    composed = compose_with_hydra(base)
    return base, dict(composed.hydra.runtime.choices), without_hydra(composed)


def _state_of(conf: Path) -> object:
    """A value that changes when a file of the configuration changes."""
    state = []
    for path in conf.rglob("*"):
        with suppress(OSError):  # an editor's temporary file, or a link to nothing
            status = path.stat()
            state.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(sorted(state))
