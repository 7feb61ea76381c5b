"""Read and write the YAML files of the configuration."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.config.schema import Config
from pipeline.config.validation import validate
from pipeline.system.errors import UserError, one_line
from pipeline.system.files import write_text

_TAGS = {"null", "bool", "int", "float", "str", "timestamp", "seq", "map", "merge"}
_MAX_VALUES = 10_000
_MAX_DEPTH = 32
_MAX_DIGITS = 100


def load_config(path: Path) -> Config:
    """Read a composed configuration.

    Raises:
        UserError: when the file is missing, or its content does not fit this version's schema.
    """
    values = read_yaml(path, "run `dvc repro compose` first")
    return validate(Config, values, lambda _: str(path))


def save_config(config: Config, path: Path) -> None:
    """Write a composed configuration. Equal values give equal bytes."""
    write_text(path, dump_config(config))


def dump_config(config: Config) -> str:
    """A configuration as YAML with sorted keys."""
    # The output is ASCII: PyYAML would write U+0085 unescaped, which YAML reads as a line end.
    return yaml.safe_dump(config.model_dump(), sort_keys=True)


def read_yaml(path: Path, if_missing: str) -> Any:
    """Read a YAML file of plain values.

    Args:
        path: the file.
        if_missing: what the user can do if the file is missing; part of the error message.

    Raises:
        UserError: when the file is missing, unreadable, too large, or not plain YAML.
    """
    try:
        loader = yaml.SafeLoader(path.read_text("utf-8"))
        root = loader.get_single_node()
        if root is None:
            return None
        _check_nodes(root, path)
        return loader.construct_document(root)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {if_missing}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deep") from None
    # PyYAML does not catch the errors that Python raises for `!!int x`, `!!bool x`, or `!!int ''`.
    except (yaml.YAMLError, ValueError, LookupError, OverflowError) as error:
        raise UserError(f"{path} is not YAML: {one_line(error)}") from None


def _check_nodes(root: yaml.Node, path: Path) -> None:
    """Reject YAML that is not a configuration, before any values are made from it.

    An alias is counted as the nodes that it refers to. A few lines of nested aliases can expand to
    gigabytes, and an alias within its own anchor expands forever.
    """
    count = 0
    todo = [(root, 0)]
    while todo:
        node, depth = todo.pop()
        count += 1
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        where = f"{path}, line {node.start_mark.line + 1}"
        if count > _MAX_VALUES:
            raise UserError(f"{path} holds more than {_MAX_VALUES:,} values")
        if depth > _MAX_DEPTH:
            raise UserError(f"{path} is nested too deep")
        if tag not in _TAGS:
            raise UserError(f"{where}: unsupported YAML tag {tag!r:.200}")
        if tag == "int" and len(node.value) > _MAX_DIGITS:
            raise UserError(f"{where}: a number has {len(node.value)} digits; limit: {_MAX_DIGITS}")
        if tag == "timestamp":
            node.tag = "tag:yaml.org,2002:str"  # no setting is a date: keep the text
        if isinstance(node, yaml.MappingNode):
            todo += [(child, depth + 1) for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(child, depth + 1) for child in node.value]
