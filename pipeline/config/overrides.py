"""Overrides in Hydra's grammar: parse them, merge them, and read `params.yaml` as overrides."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The parser that Hydra's own sweepers use. It is the only definition of the grammar.
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from pipeline.config.paths import CONF, config_groups, options_of
from pipeline.config.yaml_files import read_yaml
from pipeline.system.errors import UserError, one_line


def read_params(params: Path, conf: Path = CONF) -> list[str]:
    """Read a params file as overrides.

    A key that names a config group picks a file of the group; null leaves the group as it is. Any
    other key sets a value. Keys may be nested (`train: {epochs: 3}`) or dotted (`train.epochs: 3`).
    """
    values = read_yaml(params, "create it with `{}` in it to change nothing")
    if values is None:
        return []
    if not isinstance(values, dict):
        raise UserError(f"{params.name} must hold `key: value` lines, not {type(values).__name__}")
    groups = config_groups(conf)
    overrides = []
    for key, value in flatten(values).items():
        if value == {} or (key in groups and value is None):
            continue
        if key not in groups:
            overrides.append(f"{key}={to_grammar(value)}")
        elif isinstance(value, str):
            overrides.append(f"{key}={value}")
        else:
            names = ", ".join(options_of(key, conf))
            raise UserError(f"{params.name}: {key} must name one of {names}, not {value!r:.200}")
    return overrides


def with_params(params: Path, arguments: Sequence[str], conf: Path = CONF) -> list[str]:
    """The overrides of a params file, then those of the command line, which replace equal keys."""
    return merge_overrides(read_params(params, conf), arguments)


def merge_overrides(base: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Join two lists of overrides. If a key is in both, keep only the second list's override.

    Hydra rejects a list that names a key twice.
    """
    replaced = {key_of(override) for override in overrides}
    return [*(override for override in base if key_of(override) not in replaced), *overrides]


def parse_overrides(overrides: Sequence[str], source: str) -> list[Override]:
    """Parse overrides in Hydra's grammar.

    Args:
        overrides: such as `train.epochs=3`.
        source: where they come from, for error messages.

    Raises:
        UserError: naming the override that does not follow the grammar.
    """
    parsed = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            raise UserError(f"{text!r} ({source}): {one_line(error)}") from None
    return parsed


def quote_text(override: str) -> str:
    """Quote the value of an override if Hydra's grammar reads it only then, as `git:HEAD~1`.

    The grammar has no `~`, `^`, `#` or letter outside ASCII in a text without quotes. A value that
    starts like a list, a mapping or a quoted text, or that calls a function, stays as it is.
    """
    key, _, value = override.partition("=")
    if value[:1] in ("", "'", '"', "[", "{") or "(" in value:
        return override
    try:
        OverridesParser.create().parse_overrides([override])
    except HydraException:
        return f"{key}={to_grammar(value)}"
    return override


def key_of(override: str) -> str:
    """The key that an override sets, without the prefix that adds or removes it."""
    return override.split("=")[0].lstrip("+~")


def to_grammar(value: Any) -> str:
    """A YAML value in Hydra's override grammar, so that parsing gives the value back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(to_grammar, value)) + "]"
    if isinstance(value, dict):
        # The grammar does not allow quotes around a key.
        keys = (key if isinstance(key, str) else to_grammar(key) for key in value)
        pairs = zip(keys, map(to_grammar, value.values()), strict=True)
        return "{" + ",".join(f"{key}:{item}" for key, item in pairs) + "}"
    # In the grammar, a backslash escapes a quote, or another backslash in a run before a quote.
    # Anywhere else it is literal.
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), str(value))
    return f"'{text}'"


def flatten(values: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key; an empty mapping is kept as a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
