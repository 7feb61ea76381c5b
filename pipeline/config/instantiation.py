"""Make objects from sections of the configuration."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from pipeline.system.errors import UserError, one_line


def instantiate_section(section: str, settings: dict[str, Any], **arguments: Any) -> Any:
    """Call the `_target_` of a section with its settings.

    Args:
        section: the name of the section, for errors.
        settings: `_target_` and its arguments.
        arguments: more arguments, which come from the pipeline and not from the configuration.

    Raises:
        UserError: when the target cannot be imported or refuses its settings.
    """
    try:
        return instantiate(settings, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = one_line(error.__cause__ or error)
        target = settings.get("_target_")
        raise UserError(f"{section}: {target} refuses its settings: {cause}") from error
