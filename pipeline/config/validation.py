"""Turn composed values into the typed configuration, or into one clear error."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.schema import Config, SweepConfig
from pipeline.config.targets import arguments_of
from pipeline.config.types import Section
from pipeline.system.errors import UserError, nearest, one_line
from pipeline.system.redaction import redact

T = TypeVar("T", Config, SweepConfig)

_MAPPING = "should be a mapping of `key: value`"
_MESSAGES = {"model_type": _MAPPING, "dict_type": _MAPPING, "list_type": "should be a list"}


def validate(schema: type[T], values: Any, file_of: Callable[[str], str]) -> T:
    """Make the typed configuration from composed values.

    Args:
        schema: the type to make.
        values: nested mappings of plain values.
        file_of: returns the file, or "the command line", that a key comes from.

    Raises:
        UserError: naming the key, where it comes from, and the nearest valid names.
    """
    if schema is Config and (key := _secret(values)):
        raise UserError(
            f"{key} ({file_of(key)}): an address with a user or a query may hold a secret, which "
            "every run would keep: put it into the variable DATA_MIRROR, or into ~/.netrc"
        )
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        # Report an unknown key first: if it is misspelt, the correct key is reported as missing.
        errors = error.errors(include_url=False)
        first, *others = sorted(errors, key=lambda error: error["type"] != "extra_forbidden")
    key = ".".join(map(str, first["loc"])) or "the configuration"
    more = f" (and {len(others)} more)" if others else ""
    raise UserError(f"{key} ({file_of(key)}): {_message(schema, values, first)}{more}")


def _secret(values: Any, key: str = "") -> str:
    """The key of an address with a user, a password or a query; "" if there is none."""
    if isinstance(values, str):
        return key if redact(values) != values else ""
    named = values.items() if isinstance(values, dict) else ()
    listed = enumerate(values) if isinstance(values, list) else ()
    for name, value in (*named, *listed):
        if found := _secret(value, f"{key}.{name}" if key else str(name)):
            return found
    return ""


def _message(schema: type[BaseModel], values: Any, error: ErrorDetails) -> str:
    path = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        return f"no such key{nearest(path[-1], _names_at(schema, path[:-1], values))}"
    if error["type"] == "missing":
        return "missing"
    message = _MESSAGES.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return f"{one_line(message)}, not {error['input']!r:.200}"


def _names_at(schema: Any, path: list[str], values: Any) -> list[str]:
    """The valid keys at a path in the configuration."""
    for part in path:
        fields = getattr(schema, "model_fields", {})
        schema = fields[part].annotation if part in fields else None
    target = values.get(path[0], {}).get("_target_") if path else None
    if isinstance(target, str):
        schema = arguments_of(target) or schema
    is_section = isinstance(schema, type) and issubclass(schema, Section)
    return schema.key_names() if is_section else []
