"""Make objects from sections of the configuration."""

from collections.abc import Iterator
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from pipeline.config.allowed import refusal
from pipeline.system.errors import UserError, one_line


def instantiate_section(section: str, settings: dict[str, Any], **arguments: Any) -> Any:
    """Call the `_target_` of a section with its settings.

    Args:
        section: the name of the section, for errors.
        settings: `_target_` and its arguments.
        arguments: more arguments, which come from the pipeline and not from the configuration.

    Raises:
        UserError: when a target is not allowed, cannot be imported, or refuses its settings.
    """
    for name in _targets(settings):
        if problem := refusal(name):
            raise UserError(f"{section}: {problem}")
    try:
        return instantiate(settings, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = one_line(error.__cause__ or error)
        target = settings.get("_target_")
        raise UserError(f"{section}: {target} refuses its settings: {cause}") from error


def _targets(value: Any) -> Iterator[str]:
    """All `_target_`s in a section. One that is not a text is left to Hydra."""
    if isinstance(value, dict):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _targets(item)
