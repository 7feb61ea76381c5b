"""Pages from Jinja templates, which lie in the package that fills them."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def render(package: str, template: str, values: Mapping[str, Any]) -> str:
    """The HTML of a page.

    Args:
        package: the package that has the template, such as `pipeline.evaluation`.
        template: the name of its file.
        values: what the template names; a name without a value is an error.
    """
    text = files(package).joinpath(template).read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(text).render(values)
