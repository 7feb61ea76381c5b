"""Compose `conf/` with overrides into the typed configuration. No other module composes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.dependencies import check_targets
from pipeline.config.hydra_cache import (
    compose_picks,
    first_missing,
    replace_values,
    without_hydra,
)
from pipeline.config.overrides import (
    SWEEP_GROUPS,
    VALUES,
    flatten,
    key_of,
    merge_overrides,
    parse_overrides,
    quote_text,
    with_params,
)
from pipeline.config.paths import CONF, config_groups, git_hint, options_of
from pipeline.config.presets import PRESET, compose_with_hydra, left_out
from pipeline.config.schema import (
    CHANGES,
    CHOICES,
    INITIAL_MODEL,
    VERSIONS,
    Config,
    Sweep,
    SweepConfig,
)
from pipeline.config.targets import arguments_of
from pipeline.config.types import Section
from pipeline.config.validation import validate
from pipeline.system.errors import UserError, nearest, one_line
from pipeline.system.versions import library_versions

COMMAND_LINE = "the command line"
_SECTIONS: dict[str, type[Section]] = {"sweep": Sweep}  # those with keys that a file may leave out
_HYDRA_ERRORS = (HydraException, OmegaConfBaseException, ValueError)


@dataclass
class Origin:
    """Finds where a key of the configuration was set, for error messages.

    Attributes:
        conf: the folder of config groups.
        set_by: keys and groups that overrides set, with the source of each override.
        choices: the file that was picked from each group.
        changes: the values that overrides changed in the picked files, by key.
    """

    conf: Path
    set_by: dict[str, str]
    choices: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    def of(self, key: str) -> str:
        """The file, or "the command line", that a key comes from."""
        parts = key.split(".")
        ancestors = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        groups = config_groups(self.conf)
        for part in ancestors:
            # An override that picks a file of a group did not set the values in that file.
            if part in self.set_by and (part == key or part not in groups):
                return self.set_by[part]
        for known, source in self.set_by.items():
            if known.startswith(f"{key}."):
                return source
        return self._file_of(key)

    def _file_of(self, key: str) -> str:
        """The file that sets a key: the preset, else the group's file, else config.yaml."""
        group = key.partition(".")[0]
        preset = self.conf / "experiment" / f"{self.choices.get('experiment')}.yaml"
        if preset.is_file() and _has(OmegaConf.to_container(OmegaConf.load(preset)), key):
            return str(preset.relative_to(self.conf.parent))
        path = self.conf / group / f"{self.choices.get(group)}.yaml"
        if not path.is_file():
            path = self.conf / "config.yaml"
        return str(path.relative_to(self.conf.parent))


def _has(values: Any, key: str) -> bool:
    """Whether nested mappings have a dotted key."""
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def compose(
    arguments: Sequence[str] = (),
    params: Path | None = None,
    conf: Path = CONF,
    source: str = COMMAND_LINE,
) -> Config:
    """Compose `conf`, with a params file and then with overrides on top.

    Args:
        arguments: overrides in Hydra's grammar, such as `model=mlp` or `train.epochs=3`.
        params: a params.yaml file; see `read_params`.
        conf: the folder of config groups.
        source: where the arguments come from, for error messages.

    Raises:
        UserError: naming the key, the file (or the command line) and the nearest valid names.
    """
    arguments = [quote_text(text) for text in arguments]
    origin = Origin(conf, {o.key_or_group: source for o in parse_overrides(arguments, source)})
    overrides = list(arguments)
    if params is not None:
        overrides = with_params(params, arguments, conf)
        for override in parse_overrides(overrides, params.name):
            origin.set_by.setdefault(override.key_or_group, params.name)
    values = _to_container(_hydra_compose(overrides, origin), origin)
    groups = _picked_groups(origin)
    picks = {key_of(o): o.partition("=")[2] for o in overrides if key_of(o) in groups}
    picks.pop(PRESET, None)
    written = {
        VERSIONS: library_versions(),
        CHOICES: {group: str(origin.choices[group]) for group in groups},
        CHANGES: picks | origin.changes,
        INITIAL_MODEL: "",
    }
    for name in values.keys() & written.keys():
        raise UserError(f"{name} ({origin.of(name)}): compose writes this section itself")
    cfg = validate(Config, values | written, origin.of)
    check_targets(cfg, origin.of)
    return cfg


def values_left_out(arguments: Sequence[str], params: Path | None = None) -> list[str]:
    """The keys of the preset that do not apply, since another file than its own is picked.

    Args:
        arguments: overrides that compose.
        params: a params.yaml file that composes.
    """
    overrides = with_params(params, arguments) if params else list(arguments)
    groups = config_groups()
    picks = [override for override in overrides if key_of(override) in groups]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        undo = left_out(picks)
    return [key_of(override) for group in undo.values() for override in group]


def compose_sweep(arguments: Sequence[str] = (), conf: Path = CONF) -> SweepConfig:
    """Compose the sections that only `sweep` reads.

    Args:
        arguments: overrides such as `sweep=depth` or `sweep.trials=30`.
        conf: the folder of config groups.

    Raises:
        UserError: naming the key, the file (or the command line) and the nearest valid names.
    """
    parsed = parse_overrides(arguments, COMMAND_LINE)
    origin = Origin(conf, {override.key_or_group: COMMAND_LINE for override in parsed})
    picks = dict(SWEEP_GROUPS)
    picks |= {key: text.partition("=")[2] for text in arguments if (key := key_of(text)) in picks}
    values = [text for text in arguments if key_of(text) not in picks]
    groups = [f"+{group}={choice}" for group, choice in picks.items()]
    composed = _hydra_compose([*groups, *values], origin)
    sections = {group: _to_container(composed[group], origin, resolve=False) for group in picks}
    return validate(SweepConfig, sections, origin.of)


def group_choices(arguments: Sequence[str]) -> dict[str, str]:
    """The file that a composition picks from each group, except the preset."""
    origin = Origin(CONF, {})
    _hydra_compose(list(arguments), origin)
    return {k: origin.choices[k] for k in _picked_groups(origin) if k != PRESET}


def _picked_groups(origin: Origin) -> list[str]:
    """The groups from which a file was picked, in Hydra's order, with the preset's."""
    return [key for key in origin.choices if (origin.conf / key).is_dir()]


def _hydra_compose(overrides: list[str], origin: Origin) -> DictConfig:
    """Compose with Hydra, record the choices in `origin`, turn Hydra's errors into `UserError`."""
    conf = origin.conf
    groups = config_groups(conf)
    picks = [override for override in overrides if key_of(override) in groups]
    values = [override for override in overrides if key_of(override) not in groups]
    _check_choices(picks, origin)
    with initialize_config_dir(str(conf), version_base="1.3"):
        try:
            base, choices, picked = compose_picks(picks, conf)
            composed = replace_values(picked, values) or _compose_values(base, values, origin)
        except yaml.YAMLError as error:
            raise UserError(f"a file of {conf.name}/ is not YAML: {one_line(error)}") from None
        # Hydra raises ValueError for `model=null`.
        except _HYDRA_ERRORS as error:
            raise UserError(_locate(one_line(error), origin)) from None
    origin.choices |= choices
    before, after = (_values(each) for each in (picked, composed))
    origin.changes |= {k: v for k, v in after.items() if k not in before or before[k] != v}
    return composed


def _values(config: DictConfig) -> dict[str, Any]:
    """The values by dotted key; interpolations are not resolved."""
    values = OmegaConf.to_container(config)
    assert isinstance(values, dict)
    return flatten(values)


def _compose_values(base: list[str], values: list[str], origin: Origin) -> DictConfig:
    """Compose with values on top of picks.

    Hydra refuses a key that no file sets, such as `optimizer.clipnorm`, without a `+`. Here the
    `+` is not needed if the section's target has such an argument.
    """
    try:
        return without_hydra(compose_with_hydra(merge_overrides(base, values)))
    except _HYDRA_ERRORS as error:
        added = _new_arguments(base, values, origin, one_line(error))
        if not added:
            raise
        values = [f"+{value}" if key_of(value) in added else value for value in values]
        return without_hydra(compose_with_hydra(merge_overrides(base, values)))


def _check_choices(picks: list[str], origin: Origin) -> None:
    """Raise UserError for a choice that its group does not have."""
    for override in picks:
        group, _, choice = override.lstrip("+~").partition("=")
        options = options_of(group, origin.conf)
        if choice and choice not in options:
            name = f"{origin.conf.name}/{group}/{choice}.yaml"
            raise UserError(
                f"{group}={choice} ({origin.set_by.get(group, 'an override')}): there is no "
                f"{name}{git_hint(name) or nearest(choice, options)}"
            )


def _new_arguments(base: list[str], values: list[str], origin: Origin, failure: str) -> set[str]:
    """The keys of values that are not in the configuration, but that their target accepts.

    Raises:
        UserError: naming a key that is not in the configuration and has no such target.
    """
    try:
        config = compose_with_hydra(base)
    except _HYDRA_ERRORS:
        raise UserError(f"{origin.conf.name}/: {failure}") from None
    new = set()
    for value in values:
        key = key_of(value)
        parent, part, names = first_missing(config, key)
        if not part or value.startswith("+"):
            continue
        source = origin.set_by.get(key, "an override")
        if key.startswith(f"{VALUES}."):
            raise UserError(f"{value} ({source}): leave out `{VALUES}.`, which is for params.yaml")
        target = config[parent].get("_target_", "") if parent in config else ""
        arguments = _SECTIONS.get(parent) or (
            arguments_of(target) if isinstance(target, str) else None
        )
        if arguments and part in arguments.key_names() and key == f"{parent}.{part}":
            new.add(key)
            continue
        valid = names if parent else sorted({*names, *config_groups(origin.conf)} - {"hydra"})
        where = f" in {parent}" if parent else ""
        raise UserError(f"{key} ({source}): no key {part!r}{where}{nearest(part, valid)}")
    return new


def _locate(failure: str, origin: Origin) -> str:
    """Put the key that an error message names, and where it was set, before the message."""
    for key, source in origin.set_by.items():
        if key in failure:
            return f"{key} ({source}): {failure}"
    return failure


def _to_container(config: DictConfig, origin: Origin, resolve: bool = True) -> Any:
    for key, value in _texts(OmegaConf.to_container(config)):
        if _calls_resolver(value):
            raise UserError(
                f"{key} ({origin.of(key)}): {value!r:.200} reads from outside the configuration, "
                "and composed.yaml, DVC and MLflow would keep what it reads: write the value, or "
                "name another key, such as ${train.epochs}"
            )
    try:
        return OmegaConf.to_container(config, resolve=resolve, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        raise UserError(f"{key} ({origin.of(key)}): {one_line(error)}") from None


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a value, and the keys themselves, by dotted key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            path = f"{key}.{name}" if key else str(name)
            yield path, str(name)
            yield from _texts(inner, path)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{number}")


def _calls_resolver(text: str) -> bool:
    """Whether a text has an interpolation such as `${oc.env:HOME}`, also inside of another one."""
    depth = 0
    for part in re.findall(r"\$\{|[{}:]", text):
        if part == ":" and depth:
            return True
        depth = max(depth + {"${": 1, "}": -1}.get(part, 0), 0)
    return False
