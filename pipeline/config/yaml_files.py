"""Read and write the YAML files of the configuration.

Hydra reads conf/ with PyYAML (YAML 1.1), and DVC reads and writes params.yaml with ruamel.yaml
(YAML 1.2). They differ in some spellings. Here a number or a truth value of either is read as one:
`1e-3`, `5e-05`, `0o7`, `on`. A date or a time stays text. A number with leading zeros is refused,
because the two libraries read different numbers.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.schema import Config
from pipeline.config.validation import validate
from pipeline.system.errors import UserError, one_line
from pipeline.system.files import write_text

_TAGS = {"null", "bool", "int", "float", "str", "timestamp", "seq", "map", "merge"}
_PREFIX = "tag:yaml.org,2002:"
# What YAML 1.2 reads as numbers, and YAML 1.1 as text: `1e-3`, `+.5`, `0o7`, `08`.
_FLOAT = re.compile(r"[-+]?(\.\d[\d_]*|\d[\d_]*(\.[\d_]*)?)([eE][-+]?\d+)?")
_INT = re.compile(r"[-+]?0(o[0-7_]+|[\d_]+)")
_MAX_VALUES = 10_000
_MAX_DEPTH = 32
_MAX_DIGITS = 100


class _Loader(yaml.SafeLoader):
    """Reads the spellings of YAML 1.1 and 1.2."""


class _Dumper(yaml.SafeDumper):
    """Quotes each text that `_Loader` would read as a number."""


for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver(f"{_PREFIX}int", re.compile(f"^{_INT.pattern}$"), list("-+0"))
    _yaml.add_implicit_resolver(
        f"{_PREFIX}float", re.compile(f"^{_FLOAT.pattern}$"), list("-+.0123456789")
    )


def load_config(path: Path) -> Config:
    """Read a composed configuration.

    Raises:
        UserError: when the file is missing or damaged, or its content does not fit this version's
            schema.
    """
    try:
        values = read_yaml(path, "run `dvc repro compose` first")
    except UserError as error:
        if not path.exists():
            raise
        raise UserError(f"{error}; `dvc repro compose` writes it again") from None
    return validate(Config, values, lambda _: str(path))


def save_config(config: Config, path: Path) -> None:
    """Write a composed configuration. Equal values give equal bytes."""
    write_text(path, dump_config(config))


def dump_config(config: Config) -> str:
    """A configuration as YAML with sorted keys."""
    return dump_values(config.model_dump())


def dump_values(values: dict[str, Any]) -> str:
    """Plain values as YAML with sorted keys, which `read_yaml` reads back."""
    # The output is ASCII: PyYAML would write U+0085 unescaped, which YAML reads as a line end.
    return yaml.dump(values, Dumper=_Dumper, sort_keys=True)


def read_yaml(path: Path, if_missing: str) -> Any:
    """Read a YAML file of plain values.

    Args:
        path: the file.
        if_missing: what the user can do if the file is missing; part of the error message.

    Raises:
        UserError: when the file is missing, unreadable, too large, or not plain YAML.
    """
    try:
        loader = _Loader(path.read_text("utf-8"))
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
        tag = node.tag.removeprefix(_PREFIX)
        where = f"{path}, line {node.start_mark.line + 1}"
        if count > _MAX_VALUES:
            raise UserError(f"{path} holds more than {_MAX_VALUES:,} values")
        if depth > _MAX_DEPTH:
            raise UserError(f"{path} is nested too deep")
        if tag not in _TAGS:
            raise UserError(f"{where}: unsupported YAML tag {tag!r:.200}")
        if tag == "int" and len(node.value) > _MAX_DIGITS:
            raise UserError(f"{where}: a number has {len(node.value)} digits; limit: {_MAX_DIGITS}")
        if tag == "int" and re.fullmatch(r"[-+]?0[\d_]*[1-9][\d_]*", node.value):
            raise UserError(f"{where}: write {node.value} without leading zeros")
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, path)
            todo += [(child, depth + 1) for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(child, depth + 1) for child in node.value]


def _check_keys(mapping: yaml.MappingNode, path: Path) -> None:
    """Reject a mapping with two equal keys. PyYAML would keep the last one without a word."""
    seen = set()
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != f"{_PREFIX}merge":
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UserError(f"{path}, line {line}: the key {key.value!r:.200} is there twice")
            seen.add(key.value)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    text = node.value.replace("_", "")
    if ":" in text:
        return text  # YAML 1.1 reads 12:30 as 750
    if match := re.fullmatch(r"([-+]?)0o([0-7]+)", text):
        return int(match[1] + match[2], 8)
    return loader.construct_yaml_int(node)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | str:
    return str(node.value) if ":" in node.value else loader.construct_yaml_float(node)


def _construct_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_Loader.add_constructor(f"{_PREFIX}int", _construct_int)
_Loader.add_constructor(f"{_PREFIX}float", _construct_float)
_Loader.add_constructor(f"{_PREFIX}timestamp", _construct_text)
