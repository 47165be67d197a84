"""The edits in effect on a connection, as the network runs them and as features are shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import DamagedVindex
from larqldb.model.edited import AddedFeature, Edits, KeyRow, LayerEdits, by_layer, layer_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.network import Network
    from larqldb.storage.edits import Operation


@dataclass(frozen=True)
class Silence:
    """Leave an added feature out of what the network computes; it stays in effect, and keeps its number."""

    layer: int
    feature: int


@dataclass(frozen=True, eq=False)
class Live:
    """All edits in effect. Features that were added are numbered after the base's own, in no particular order.

    ``numbers`` are those of each layer's added features, in the order of ``layers`` and of the network's results;
    ``operations`` says of each (layer, feature) what added it, ``rows`` of each layer what its rows stand for.
    """

    edits: Edits = field(default_factory=Edits)
    layers: dict[int, LayerEdits] = field(default_factory=dict)
    numbers: dict[int, list[int]] = field(default_factory=dict)
    operations: dict[tuple[int, int], Operation] = field(default_factory=dict)
    rows: dict[int, list[Operation]] = field(default_factory=dict)
    tokens: dict[tuple[int, int], list[str]] = field(default_factory=dict)  # those of features that were asked for
    scores: dict[tuple[int, int], float] = field(default_factory=dict)  # E·down for the first of these

    def vectors(self, role: str, layer: int) -> NDArray[np.float32] | None:
        """The gate, up or down vectors of a layer's added features: [n, hidden]; None where it has none."""
        vectors: NDArray[np.float32] | None = getattr(self.layers.get(layer), role, None)
        return vectors

    def without(self, silenced: Collection[tuple[int, int]]) -> Edits:
        """The edits, some added features by (layer, number) left out."""
        if not silenced:
            return self.edits
        following = {layer: iter(numbers) for layer, numbers in self.numbers.items()}
        added = [one for one in self.edits.added if (one.layer, next(following[one.layer])) not in silenced]
        return replace(self.edits, added=tuple(added))

    def running(self, layer: int, silenced: Collection[tuple[int, int]]) -> list[bool]:
        """Which of a layer's added features, in order, are not left out."""
        return [(layer, number) not in silenced for number in self.numbers.get(layer, ())]

    def removed(self, layer: int) -> list[int]:
        """The base's own features of a layer that are taken away."""
        return [feature for at, feature in self.edits.removed if at == layer]

    def down_norms(self, layer: int) -> NDArray[np.float64]:
        """‖down‖ of a layer's added features: float64 [n]."""
        down = self.vectors("down", layer)
        return np.empty(0) if down is None else np.asarray(np.linalg.norm(down.astype(np.float64), axis=1))

    def relations(self, layer: int) -> list[str | None]:
        """The relations of a layer's added features."""
        return [self.operations[layer, number].relation for number in self.numbers.get(layer, ())]


NONE = Live()


def live(network: Network, operations: Iterable[Operation], file: str) -> Live:
    """What operations in effect amount to. Raises DamagedVindex for one that does not fit the network."""
    known = list(operations)
    removals = {
        (op.layer, op.feature) for op in known if op.is_removal and op.layer is not None and op.feature is not None
    }
    added: list[AddedFeature] = []
    numbers: dict[int, list[int]] = {}
    features: dict[tuple[int, int], Operation] = {}
    rows: dict[int, tuple[KeyRow, Operation]] = {}  # by the row's id
    for op in known:
        if op.down is None or (op.layer, op.feature) in removals:
            continue
        problem = _problem(op, network)
        if problem is not None:
            raise DamagedVindex(path=file, problem=f"operation {op.op_id} of patch {op.patch}: {problem}")
        assert op.layer is not None
        assert op.gate is not None
        if op.is_feature:
            assert op.feature is not None
            added.append(AddedFeature(op.layer, op.gate, op.up, op.down))
            numbers.setdefault(op.layer, []).append(op.feature)
            features[op.layer, op.feature] = op
        else:
            row = KeyRow(op.layer, op.gate, op.down, float(op.least_cosine or 0))
            rows[id(row)] = row, op
    removed = sorted(
        (layer, feature)
        for layer, feature in removals
        if layer in range(network.layers) and feature in range(network.ffn)
    )
    edits = Edits(tuple(added), tuple(removed), tuple(row for row, _ in rows.values()))
    at = {row.layer for row in edits.rows}
    standing = {layer: [rows[id(row)][1] for row in layer_rows(edits.rows, layer)] for layer in at}
    return Live(edits, by_layer(network, edits), numbers, features, standing) if edits else NONE


def _problem(op: Operation, network: Network) -> str | None:
    """What is wrong with an operation that holds vectors."""
    vectors = [op.gate, op.down] + ([op.up] if op.is_feature and network.gated else [])
    if op.layer not in range(network.layers):
        return f"the model has no layer {op.layer}"
    if any(vector is None or vector.shape != (network.hidden,) for vector in vectors):
        return f"its vectors are not {network.hidden} numbers each"
    if not all(np.isfinite(vector).all() for vector in vectors if vector is not None):
        return "its vectors hold numbers that are not finite"
    if op.is_feature and (op.feature is None or op.feature < network.ffn):
        return f"its feature is not numbered from {network.ffn} up"
    return None
