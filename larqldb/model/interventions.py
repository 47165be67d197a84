"""Changing what a network computes while it runs: scale, add to or replace an intermediate result.

A change is a node put behind a named result of the graph (``graph.observable``), so that everything after it, and
everyone who looks at it, sees the changed one. A graph without changes has no such nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.runner import Runner


@dataclass(frozen=True)
class Scale:
    """Multiply a result at every position by ``factors`` float32 [width]."""

    name: str
    factors: NDArray[np.float32]


@dataclass(frozen=True)
class Add:
    """Add ``vector`` float32 [width] to a result at every position."""

    name: str
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class Replace:
    """Put ``values`` float32 [positions, width] in a result's place where ``where`` bool [positions, width] says so."""

    name: str
    where: NDArray[np.bool_]
    values: NDArray[np.float32]


Change = Scale | Add | Replace

_numbers = count()  # distinguishes the changes of a graph


def changed(runner: Runner, changes: Sequence[Change]) -> Runner:
    """A runner over the same weights that makes the changes, in order, after those that ``runner`` makes already."""
    labels = [f"change.{next(_numbers)}" for _ in changes]
    inputs = [_inputs(change, label) for change, label in zip(changes, labels, strict=True)]

    def alter(model: ModelProto) -> None:
        for change, label, named in zip(changes, labels, inputs, strict=True):
            _insert(model, change, label, named)

    return runner.changed(alter, {name: array for named in inputs for name, array in named.items()})


def one_by_one(runner: Runner, replacements: Sequence[Replace]) -> Iterator[Runner]:
    """For each replacement a runner that makes it alone; they share one graph, which takes most of the time to make."""
    none = [replace(change, where=np.zeros_like(change.where)) for change in replacements]
    first = next(_numbers)
    inputs = [_inputs(change, f"alone.{first}.{i}") for i, change in enumerate(none)]

    def alter(model: ModelProto) -> None:
        for i, (change, named) in enumerate(zip(none, inputs, strict=True)):
            _insert(model, change, f"alone.{first}.{i}", named)

    prepared = runner.changed(alter, {name: array for named in inputs for name, array in named.items()})
    for i, change in enumerate(replacements):
        alone = copy(prepared)
        alone.weights = {**prepared.weights}
        alone.weights[f"alone.{first}.{i}.where"] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(change.where))
        yield alone


def _inputs(change: Change, label: str) -> dict[str, NDArray[Any]]:
    """The arrays of a change by the names they have in the graph."""
    arrays: dict[str, NDArray[Any]]
    match change:
        case Scale():
            arrays = {"factors": change.factors}
        case Add():
            arrays = {"vector": change.vector}
        case Replace():
            arrays = {"where": change.where, "values": change.values}
    return {f"{label}.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}


def _insert(model: ModelProto, change: Change, label: str, inputs: dict[str, NDArray[Any]]) -> None:
    """Put the change's nodes behind the node that makes the result."""
    graph = model.graph
    for name, array in inputs.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    place, node = next((i, node) for i, node in enumerate(graph.node) if change.name in node.output)
    before = f"{change.name}.before.{label}"
    node.output[list(node.output).index(change.name)] = before
    match change:
        case Scale():
            nodes = [helper.make_node("Mul", [before, *inputs], [change.name])]
        case Add():
            nodes = [helper.make_node("Add", [before, *inputs], [change.name])]
        case Replace():
            nodes = _replacing(graph, before, change.name, label)
    for offset, added in enumerate(nodes, start=1):
        graph.node.insert(place + offset, added)


def _replacing(graph: Any, before: str, after: str, label: str) -> list[NodeProto]:
    """Where(where, values, before), for the positions of this run: from total − s to total."""
    constants = {"one": 1, "zero": 0}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value]), f"{label}.{name}"))

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        names = [name if name in ("ids", "total", before) else f"{label}.{name}" for name in inputs]
        return helper.make_node(kind, names, [output if output == after else f"{label}.{output}"], **attributes)

    return [
        node("Shape", ["ids"], "count", start=1, end=2),  # [1]: s
        node("Cast", ["total"], "wide", to=TensorProto.INT64),
        node("Reshape", ["wide", "one"], "stop"),  # [1]
        node("Sub", ["stop", "count"], "start"),
        node("Slice", ["where", "start", "stop", "zero"], "chosen"),
        node("Slice", ["values", "start", "stop", "zero"], "replacement"),
        node("Where", ["chosen", "replacement", before], after),
    ]
