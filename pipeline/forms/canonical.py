"""Give equal models equal files: the converters number names as they happen to come."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import onnx
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

_NAME = "_user_specified_name"  # of an argument; the address of a variable where nobody named it


def rewrite_onnx(path: Path, outputs: list[str]) -> None:
    """Sort what an ONNX file computes by what it is, and name it in this order.

    tf2onnx takes names and orders from sets, whose order changes from process to process.

    Args:
        path: the file.
        outputs: the names of the outputs.
    """
    model = onnx.load(str(path))
    names: dict[str, str] = {given.name: given.name for given in model.graph.input}
    names |= dict(zip((output.name for output in model.graph.output), outputs, strict=True))
    _rename_graph(model.graph, names)
    model.graph.doc_string = ""
    path.write_bytes(model.SerializeToString(deterministic=True))


def _rename_graph(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Sort and rename the nodes and tensors of a graph, and of the graphs inside its nodes.

    Args:
        graph: what to rename.
        names: the new names of the tensors that are known before the first node.
    """

    def named(name: str) -> str:
        return name and names.setdefault(name, f"t{len(names)}")

    _order_copies(graph)
    constants = {constant.name: _content(constant) for constant in graph.initializer}
    for value in graph.input:
        named(value.name)
    nodes = list(_sorted_nodes(graph, names, constants, named))
    for number, node in enumerate(nodes):
        node.name = f"{node.op_type}_{number}"
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
        if not node.domain:
            node.ClearField("domain")
        for inner in _inner_graphs(node):
            _rename_graph(inner, names)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.name = "model"
    for value in (*graph.input, *graph.output):
        value.name = named(value.name)
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = "N"  # the number of images
    for constant in graph.initializer:
        constant.name = named(constant.name)
    ordered = sorted(graph.initializer, key=lambda constant: constant.name)
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    del graph.value_info[:]  # the shapes between, which runtimes infer


def _order_copies(graph: onnx.GraphProto) -> None:
    """If two outputs have one value, make the second one the copy of the first."""
    for node in graph.node:
        if node.op_type != "Identity":
            continue
        place = {value.name: number for number, value in enumerate(graph.output)}
        original, copy = node.input[0], node.output[0]
        if original in place and place[original] > place.get(copy, place[original]):
            graph.output[place[copy]].name = original
            graph.output[place[original]].name = copy


def _sorted_nodes(
    graph: onnx.GraphProto,
    names: dict[str, str],
    constants: dict[str, str],
    named: Callable[[str], str],
) -> Iterator[onnx.NodeProto]:
    """The nodes, each after those whose results it takes, and else by what they compute."""

    def key(node: onnx.NodeProto) -> tuple[Any, ...]:
        inputs = [names.get(name) or constants.get(name, "") for name in node.input]
        plain = [a for a in node.attribute if not (a.HasField("g") or a.graphs)]
        return node.op_type, inputs, [a.SerializeToString(deterministic=True) for a in plain]

    pending = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    waiting = {name for node in pending for name in node.output}
    while pending:
        ready = [node for node in pending if waiting.isdisjoint(_taken(node))]
        node = min(ready, key=key)
        pending.remove(node)
        waiting.difference_update(node.output)
        for name in (*node.input, *node.output):
            named(name)
        yield node


def _taken(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node takes, also those that the graphs inside it take from outside."""
    inner = (inside for graph in _inner_graphs(node) for inside in graph.node)
    return {*node.input, *(name for inside in inner for name in _taken(inside))}


def _inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [
        graph
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
    ]


def _content(constant: onnx.TensorProto) -> str:
    """A digest of a constant without its name."""
    copy = onnx.TensorProto.FromString(constant.SerializeToString())
    copy.name = ""
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()


def rewrite_saved_model(folder: Path) -> None:
    """Number the functions of a SavedModel from 1, and remove the random fingerprint.

    TensorFlow numbers them by all that the process has traced before.
    """
    path = folder / "saved_model.pb"
    model = SavedModel()
    model.ParseFromString(path.read_bytes())
    for graph in model.meta_graphs:
        _rename_functions(graph)
    path.write_bytes(model.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def _rename_functions(graph: Any) -> None:
    functions = graph.graph_def.library.function
    names = _numbered_from_one(function.signature.name for function in functions)
    old = sorted(names, key=len, reverse=True)
    pattern = re.compile(f"({'|'.join(map(re.escape, old))})(?!\\d)")

    def renamed(text: str) -> str:
        return pattern.sub(lambda match: names[match[1]], text)

    for message in _messages(graph):
        _rename(message, renamed)
    ordered = sorted(functions, key=lambda function: function.signature.name)
    del functions[:]
    functions.extend(ordered)
    concrete = graph.object_graph_def.concrete_functions
    for name in sorted(name for name in concrete if names.get(name, name) != name):
        concrete[names[name]].CopyFrom(concrete[name])
        del concrete[name]


def _numbered_from_one(names: Iterable[str]) -> dict[str, str]:
    """New names for names that end in a number: in the same order, counted from 1."""
    split = sorted(
        (match[1], int(match[2])) for name in names if (match := re.fullmatch(r"(.*_)(\d+)", name))
    )
    return {
        f"{stem}{old}": f"{stem}{new}"
        for stem, group in groupby(split, key=lambda pair: pair[0])
        for new, (_, old) in enumerate(group, start=1)
    }


def _rename(message: Any, renamed: Callable[[str], str]) -> None:
    """Rename functions where a message names them, also as a part of another name."""
    for field, value in message.ListFields():
        if field.name == "attr" and _is_map(field) and _NAME in value:
            if value[_NAME].s.isdigit():
                del value[_NAME]
        elif field.type == field.TYPE_STRING and not field.is_repeated:
            setattr(message, field.name, renamed(value))
        elif field.type == field.TYPE_STRING:
            value[:] = [renamed(text) for text in value]


def _messages(message: Any) -> Iterator[Any]:
    """A protocol buffer message and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        if not field.is_repeated:
            yield from _messages(value)
        elif _is_map(field):
            for item in value.values():
                if hasattr(item, "ListFields"):
                    yield from _messages(item)
        else:
            for item in value:
                yield from _messages(item)


def _is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)
