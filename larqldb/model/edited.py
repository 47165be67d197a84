"""A network with edits: features added to its layers, features of its own removed, and rows looked up by key.

An added feature is one like the layer's own: y += act(gate·x) · (up·x) · down, x being what gates are compared with; in
a network without ups act(gate·x) · down. Where the network norms what its FFN adds, y goes through that norm. A key
row adds ``value`` to what a layer's FFN adds, after any such norm, at every position where x points its way: where
cos(key, x) reaches ``least_cosine`` and no other row of the layer is nearer (Fei et al., NeuralDB, 2025,
https://arxiv.org/abs/2507.18028).

The graph depends only on which layers have edits of which kind: the numbers are inputs. Layers without edits cost
nothing, and without edits the network is the base's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from larqldb.model.activations import ACTIVATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.graph import Builder
    from larqldb.model.network import Network
    from larqldb.model.runner import Runner

    Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AddedFeature:
    """A feature beside a layer's own: ``gate``, ``up`` and ``down`` float32 [hidden].

    ``up`` is None in a network without ups.
    """

    layer: int
    gate: Floats
    up: Floats | None
    down: Floats


@dataclass(frozen=True, eq=False)
class KeyRow:
    """``value`` [hidden] is added where what a layer's gates see points like ``key`` [hidden], both float32."""

    layer: int
    key: Floats
    value: Floats
    least_cosine: float


@dataclass(frozen=True, eq=False)
class Edits:
    """All that differs from the base; ``removed`` are features of the base's own as (layer, feature).

    The order of features and rows is that of their results (``added_name``, ``rows_name``). Of rows that have the same
    key the last one counts.
    """

    added: tuple[AddedFeature, ...] = ()
    removed: tuple[tuple[int, int], ...] = ()
    rows: tuple[KeyRow, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.rows)

    def with_added(self, features: Sequence[AddedFeature]) -> Edits:
        """These and more features."""
        return Edits((*self.added, *features), self.removed, self.rows)

    def with_rows(self, rows: Sequence[KeyRow]) -> Edits:
        """These and more rows."""
        return Edits(self.added, self.removed, (*self.rows, *rows))


@dataclass(frozen=True, eq=False)
class LayerEdits:
    """A layer's edits as matrices; None where it has none of a kind. n added features, m rows.

    ``gate``, ``up``, ``down`` [n, hidden]; ``kept`` [ffn]: 0 for the features removed, else 1; ``keys`` [m, hidden] of
    length 1, ``values`` [m, hidden], ``least`` [m].
    """

    gate: Floats | None = None
    up: Floats | None = None
    down: Floats | None = None
    kept: Floats | None = None
    keys: Floats | None = None
    values: Floats | None = None
    least: Floats | None = None

    def activations(self, network: Network, x: Floats) -> Floats:
        """What added features make of FFN inputs x [s, hidden]: [s, n]."""
        assert self.gate is not None
        opened = ACTIVATIONS[network.activation](x @ self.gate.T)
        return np.asarray(opened if self.up is None else opened * (x @ self.up.T), np.float32)

    def looked_up(self, x: Floats) -> Floats:
        """Which row FFN inputs x [s, hidden] take: 1 for that one, else 0, [s, m]."""
        assert self.keys is not None
        assert self.least is not None
        cosines = x @ self.keys.T / np.linalg.norm(x, axis=1, keepdims=True)
        last = cosines.shape[1] - 1 - cosines[:, ::-1].argmax(axis=1, keepdims=True)
        nearest = last == np.arange(cosines.shape[1])
        return np.asarray(nearest & (cosines >= self.least), np.float32)


class Overlay:
    """Edits beside a network that runs layer by layer; ``enter`` makes FFN inputs of residuals [s, hidden]."""

    def __init__(
        self, network: Network, layers: Mapping[int, LayerEdits], enter: Callable[[Floats, int], Floats]
    ) -> None:
        self._network, self._layers, self._enter = network, layers, enter

    def silence(self, layer: int, activations: Floats) -> None:
        """Take removed features away: their activations [s, ffn] become 0."""
        part = self._layers.get(layer)
        if part is not None and part.kept is not None:
            activations *= part.kept

    def look(self, layer: int, residual: Floats) -> Floats | None:
        """What a layer's added features make of residuals [s, hidden]: [s, n]; None where it has none."""
        part = self._layers.get(layer)
        if part is None or part.gate is None:
            return None
        return part.activations(self._network, self._enter(residual, layer))

    def add(self, layer: int, residual: Floats, written: Floats) -> int:
        """Add to what a layer's features wrote [s, hidden], and to the residual; gives the rows that it took."""
        part, taken = self._layers.get(layer), 0
        if part is None:
            return 0
        x = self._enter(residual, layer)
        if part.gate is not None and part.down is not None:
            written += part.activations(self._network, x) @ part.down
            taken += len(x) * len(part.down)
        if part.keys is not None and part.values is not None:
            residual += part.looked_up(x) @ part.values  # after any norm of what the layer writes
        return taken


def added_name(layer: int) -> str:
    """The result that holds what a layer's added features make of its FFN input: [b, s, n], in the order of Edits."""
    return f"layers.{layer}.added"


def rows_name(layer: int) -> str:
    """The result that holds which of a layer's rows is looked up: [b, s, m], 1 or 0, in the order of ``layer_rows``."""
    return f"layers.{layer}.looked_up"


def layer_rows(rows: Sequence[KeyRow], layer: int) -> list[KeyRow]:
    """The rows of a layer that count, in order: of those with the same key the last one."""
    found = {row.key.tobytes(): row for row in rows if row.layer == layer}
    return list(found.values())


def by_layer(network: Network, edits: Edits) -> dict[int, LayerEdits]:
    """The edits of each layer that has any, as matrices."""
    parts: dict[int, dict[str, Any]] = {}
    for layer in sorted({feature.layer for feature in edits.added}):
        added = [feature for feature in edits.added if feature.layer == layer]
        part = parts.setdefault(layer, {})
        part["gate"] = _stack([feature.gate for feature in added])
        part["down"] = _stack([feature.down for feature in added])
        if network.gated:
            part["up"] = _stack([feature.up for feature in added if feature.up is not None])
    for layer, feature in edits.removed:
        parts.setdefault(layer, {}).setdefault("kept", np.ones(network.ffn, np.float32))[feature] = 0
    for layer in sorted({row.layer for row in edits.rows}):
        rows = layer_rows(edits.rows, layer)
        keys = _stack([row.key for row in rows])
        parts.setdefault(layer, {}).update(
            keys=keys / np.linalg.norm(keys, axis=1, keepdims=True),
            values=_stack([row.value for row in rows]),
            least=np.array([row.least_cosine for row in rows], np.float32),
        )
    return {layer: LayerEdits(**part) for layer, part in sorted(parts.items())}


_prepared: WeakKeyDictionary[Runner, dict[tuple[Any, ...], Runner]] = WeakKeyDictionary()


def edited(runner: Runner, edits: Edits) -> Runner:
    """A runner over the same weights with edits, after any changes that ``runner`` makes already.

    Graphs are kept with ``runner`` by the layers that have edits, so more features in the same layers need no new one.
    What ``runner`` exposes is exposed. Without edits it is ``runner`` itself.
    """
    if not edits:
        return runner
    network = runner.network
    layers = by_layer(network, edits)
    inputs = {
        _input(layer, kind): np.ascontiguousarray(array)
        for layer, part in layers.items()
        for kind, array in vars(part).items()
        if array is not None
    }
    known = _prepared.setdefault(runner, {})
    key = tuple(inputs)
    if key not in known:

        def alter(model: ModelProto) -> None:
            for layer, part in layers.items():
                _alter(model, network, layer, part)

        known[key] = runner.changed(alter, inputs)
    return known[key].given(inputs)


def _stack(vectors: Sequence[Floats]) -> Floats:
    return np.stack(vectors).astype(np.float32)


def _input(layer: int, kind: str) -> str:
    return f"edits.layers.{layer}.{kind}"


def _alter(model: ModelProto, network: Network, layer: int, part: LayerEdits) -> None:
    """Put a layer's edits into a graph."""
    from onnx import TensorProto, helper

    from larqldb.model.graph import Builder

    for kind, array in vars(part).items():
        if array is not None:
            count = f"layers.{layer}.{'added' if kind in ('gate', 'up', 'down') else 'rows'}"  # any number of them
            shape = array.shape if kind == "kept" else [count, *array.shape[1:]]
            model.graph.input.append(helper.make_tensor_value_info(_input(layer, kind), TensorProto.FLOAT, shape))
    x, written = f"layers.{layer}.ffn_input", "ffn_unnormed" if network.post_norms else "ffn_output"
    if part.kept is not None:
        builder = Builder(network, f"edits.{layer}.kept.")
        _behind(model, builder, f"layers.{layer}.activations", "Mul", _input(layer, "kept"))
    if part.gate is not None:
        builder = Builder(network, f"edits.{layer}.added.")
        y = builder.activation(_product(builder, x, layer, "gate"))
        if network.gated:
            y = builder.op("Mul", [y, _product(builder, x, layer, "up")])
        y = builder.op("MatMul", [builder.name(y, added_name(layer)), _input(layer, "down")])
        _behind(model, builder, f"layers.{layer}.{written}", "Add", y)
    if part.keys is not None:
        builder = Builder(network, f"edits.{layer}.rows.")
        size = builder.op("ReduceL2", [x, builder.constant(np.array([-1]))])
        cosines = builder.op("Div", [_product(builder, x, layer, "keys"), size])  # [b, s, m]
        nearest = builder.op("ArgMax", [cosines], axis=-1, select_last_index=1)  # [b, s, 1]
        count = builder.op("Squeeze", [builder.op("Shape", [_input(layer, "least")])])
        numbers = builder.op("Range", [builder.constant(np.array(0)), count, builder.constant(np.array(1))])
        near = builder.op("GreaterOrEqual", [cosines, _input(layer, "least")])
        taken = builder.op("And", [near, builder.op("Equal", [nearest, numbers])])
        taken = builder.name(builder.op("Cast", [taken], to=TensorProto.FLOAT), rows_name(layer))
        y = builder.op("MatMul", [taken, _input(layer, "values")])
        _behind(model, builder, f"layers.{layer}.ffn_output", "Add", y)


def _product(builder: Builder, x: str, layer: int, kind: str) -> str:
    """The product of x [b, s, hidden] and a matrix [n, hidden], transposed: [b, s, n]."""
    return builder.op("FusedMatMul", [x, _input(layer, kind)], domain="com.microsoft", transB=1)


def _behind(model: ModelProto, builder: Builder, name: str, kind: str, operand: str) -> None:
    """Put the builder's nodes, and one that combines a result with ``operand``, behind the node that makes it."""
    graph = model.graph
    place, node = next((i, node) for i, node in enumerate(graph.node) if name in node.output)
    before = f"{builder.prefix}before"
    node.output[list(node.output).index(name)] = before
    builder.name(builder.op(kind, [before, operand]), name)
    for offset, added in enumerate(builder.nodes, start=1):
        graph.node.insert(place + offset, added)
    graph.initializer.extend(builder.constants)
