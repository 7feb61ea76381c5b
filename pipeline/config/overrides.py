"""Overrides in Hydra's grammar: parse them, merge them, and read `params.yaml` as overrides."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# The parser that Hydra's own sweepers use. It is the only definition of the grammar.
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from pipeline.config.paths import CONF, config_groups, options_of
from pipeline.config.schema import CHANGES, CHOICES, VERSIONS, Config
from pipeline.config.yaml_files import read_yaml
from pipeline.system.errors import UserError, nearest, one_line

VALUES = "set"  # the key of params.yaml whose mapping holds the values
SWEEP_GROUPS = {"sweep": "default", "launcher": "local"}  # that only a sweep composes


def read_params(params: Path, conf: Path = CONF) -> list[str]:
    """Read a params file as overrides.

    A key of the file picks a file of the config group with that name. The values of the
    configuration stand under `set`, nested (`train: {epochs: 3}`) or dotted (`train.epochs: 3`),
    because `dvc exp run -S` replaces a pick by a mapping if a value is set below it. A null changes
    nothing.

    Raises:
        UserError: when the file cannot be read, or a key stands where it would not work. The
            message has the line to write.
    """
    content = read_yaml(params, "create it with `{}` in it to change nothing")
    if content is None:
        return []
    if not isinstance(content, dict):
        raise UserError(f"{params.name} must hold `key: value` lines, not {type(content).__name__}")
    groups = config_groups(conf)
    overrides = []
    for key, value in content.items():
        if key == VALUES or value in (None, {}):
            continue
        if key in SWEEP_GROUPS:
            raise UserError(f"{params.name}: {key} is for a sweep only: make sweep SWEEP={value}")
        if key not in groups or isinstance(value, dict):
            raise _misplaced(params, key, value, groups)
        if not isinstance(value, str):
            names = ", ".join(options_of(key, conf))
            raise UserError(f"{params.name}: {key} must name one of {names}, not {value!r:.200}")
        overrides.append(f"{key}={value}")
    return overrides + _values(params, content.get(VALUES), groups)


def _values(params: Path, values: Any, groups: set[str]) -> list[str]:
    """The values of a params file as overrides."""
    if values is None:
        return []
    if not isinstance(values, dict):
        raise UserError(
            f"{params.name}: {VALUES} must hold `key: value` lines, not {values!r:.200}"
        )
    overrides = []
    for key, value in flatten(values).items():
        if value is None or value == {}:
            continue
        if key in groups:
            raise UserError(
                f"{params.name}: {VALUES}.{key} is not a value but the choice of a file: write "
                f"`{key}: {value!s:.100}` outside {VALUES}, or dvc exp run -S {key}={value!s:.100}"
            )
        overrides.append(f"{key}={to_grammar(value)}")
    return overrides


def _misplaced(params: Path, key: Any, value: Any, groups: set[str]) -> UserError:
    """The error for a key of a params file that is neither a config group nor `set`."""
    section = str(key).lstrip("+~").partition(".")[0]
    if section not in {*groups, *Config.model_fields}:
        written = (CHANGES, CHOICES, VERSIONS)
        valid = sorted({*groups, VALUES, *Config.model_fields} - {*SWEEP_GROUPS, *written})
        return UserError(f"{key!s:.100} ({params.name}): no such key{nearest(section, valid)}")
    [(name, inner), *_] = flatten({str(key).lstrip("+~"): value}).items()
    return UserError(
        f"{name} ({params.name}): a value stands under `{VALUES}`: write "
        f"`{VALUES}: {{{name}: {to_grammar(inner):.100}}}`, or type "
        f"dvc exp run -S {VALUES}.{name}={to_grammar(inner):.100}"
    )


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


def is_at_or_below(key: str, others: Iterable[str]) -> bool:
    """Whether a dotted key is one of some others, or below one, as `train.seed` below `train`."""
    return any(key == other or key.startswith(f"{other}.") for other in others)


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
