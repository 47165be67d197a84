"""walk() in a real run: what features contribute when the model reads the prompt.

MODE HYBRID runs the walk, which pulls only the rows that contribute most; MODE DENSE runs the whole network. Both rank
by the true contribution at the last position, |act(gate·x)(up·x)|·‖down‖; MODE PURE (``functions/walk.py``) runs
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import DamagedVindex, MissingPart
from larqldb.functions import explain
from larqldb.functions import walk as pure
from larqldb.functions.arguments import json_array, one_of, positive
from larqldb.functions.labels import token_lists
from larqldb.functions.runs import prompt_ids
from larqldb.model.activations import ACTIVATIONS
from larqldb.model.norms import unit
from larqldb.model.sampling import check_finite
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY, as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

Row = tuple[Any, ...]
Within = tuple[int, int] | None

MARGIN = 16  # features more than asked for are ranked again by their exact numbers
COLUMNS = 9  # of walk(); explain_infer() has more


def walk(
    session: Session,
    prompt: str,
    top: int = 10,
    mode: str | None = None,
    first_layer: int | None = None,
    last_layer: int | None = None,
    relations_only: int = 0,
    within: Within = None,
) -> Iterator[Row]:
    """The ``top`` features of each layer that answer most to a prompt.

    Columns: layer, rank, feature, gate (gate·x), activation (act(gate·x)·up·x), contribution (its size times ‖down‖),
    token, also (the next nine tokens, JSON), relation. ``mode`` is hybrid, pure or dense; without it hybrid, or pure
    where the vindex does not hold the whole network.
    """
    if mode is None:
        mode = "hybrid" if _runs(session) else "pure"
    match one_of(mode, pure.MODES, "mode"):
        case "pure":
            return pure.walk(session, prompt, top, "pure", first_layer, last_layer, relations_only, within)
        case "dense":
            rows = explain.explain_infer(session, prompt, top, first_layer, last_layer, relations_only, within=within)
            return (row[:COLUMNS] for row in rows if row[2] is not None)  # a bias is no feature
    return _hybrid(session, prompt, top, first_layer, last_layer, relations_only, within)


def _hybrid(
    session: Session,
    prompt: str,
    top: int,
    first_layer: int | None,
    last_layer: int | None,
    relations_only: int,
    within: Within,
) -> Iterator[Row]:
    """Candidates by the walk's own 8-bit gates and ups, ranked by the exact ones."""
    count = positive(top, "top")
    layers = session.layer_range(first_layer, last_layer, within)
    looks = session.walking.walker().look(prompt_ids(session, "WALK", prompt))
    for layer in layers:
        look = looks[layer]
        check_finite(look.residual)
        rough = np.abs(look.activations) * session.walking.model.down_norms[layer]
        if relations_only:
            rough[_unlabelled(session, layer)] = -1
        rough[session.live.removed(layer)] = -1
        candidates = np.argsort(-rough, kind="stable")[: count + MARGIN]
        features = np.sort(candidates[rough[candidates] >= 0]).tolist()
        found = _exact(session, layer, features, look.residual) + _added(session, layer, look.residual, relations_only)
        found.sort(key=lambda one: (-one[3], one[0]))
        tokens = token_lists(session, ((layer, feature) for feature, *_ in found))
        for rank, (feature, gate, activation, contribution, relation) in enumerate(found[:count], start=1):
            first, *also = tokens[layer, feature]
            yield layer, rank, feature, gate, activation, contribution, first, json_array(also), relation


_Found = tuple[int, float, float, float, str | None]


def _added(session: Session, layer: int, residual: NDArray[np.float32], labelled: int) -> list[_Found]:
    """What ``_exact`` gives, for the features that edits added; a deletion's have no relation."""
    live, network = session.live, session.network
    gates, ups = live.vectors("gate", layer), live.vectors("up", layer)
    if gates is None:
        return []
    x = _input(session, layer, residual)
    products = gates.astype(np.float64) @ x
    activations = ACTIVATIONS[network.activation](products.astype(np.float32)).astype(np.float64)
    if ups is not None:
        activations *= ups.astype(np.float64) @ x
    sizes = np.abs(activations) * live.down_norms(layer)
    columns = (live.numbers[layer], products.tolist(), activations.tolist(), sizes.tolist(), live.relations(layer))
    return [one for one in zip(*columns, strict=True) if one[4] is not None or not labelled]


def _input(session: Session, layer: int, residual: NDArray[np.float32]) -> NDArray[np.float64]:
    """A residual [hidden] as the layer's FFN receives it, in float64."""
    x = unit(session.network, residual.astype(np.float64)) * session.norm("ffn_norm", layer)
    bias = session.bias("ffn_norm", layer)
    return x if bias is None else x + bias


def _exact(session: Session, layer: int, features: list[int], residual: NDArray[np.float32]) -> list[_Found]:
    """For each feature: its number, gate·x, act(gate·x)·up·x, the size of that times ‖down‖, and its relation."""
    network = session.network
    x = _input(session, layer, residual)
    rows = fetch(
        session.db,
        "SELECT f.feature, f.down_norm, f.relation, v.gate, v.up FROM json_each(?2) AS wanted "
        "CROSS JOIN features AS f ON f.layer = ?1 AND f.feature = wanted.value "
        "CROSS JOIN feature_vectors AS v ON v.layer = f.layer AND v.feature = f.feature",
        (layer, json.dumps(features)),
    )
    gates = _products(session, "gate", layer, [(row[0], row[3]) for row in rows], x)
    activations = ACTIVATIONS[network.activation](gates.astype(np.float32)).astype(np.float64)
    if network.gated:
        activations *= _products(session, "up", layer, [(row[0], row[4]) for row in rows], x)
    return [
        (feature, gate, activation, abs(activation) * norm, relation)
        for (feature, norm, relation, *_), gate, activation in zip(
            rows, gates.tolist(), activations.tolist(), strict=True
        )
    ]


def _products(
    session: Session, role: str, layer: int, rows: list[tuple[int, bytes]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """vector·x for a layer's vectors of a role, biases added: float64 [features]."""
    stored = session.store.find(role, layer)
    assert stored is not None
    dtype = NUMPY[stored.dtype]
    size = session.network.hidden * dtype.itemsize
    for feature, data in rows:
        if data is None or len(data) != size:
            raise DamagedVindex(
                path=session.db.filename or "the database",
                problem=f"{role} of layer {layer} feature {feature} is not {size} bytes",
            )
    matrix = np.frombuffer(b"".join(data for _, data in rows), dtype).reshape(len(rows), session.network.hidden)
    products = np.asarray(as_float32(matrix).astype(np.float64) @ x)
    bias = session.bias(role, layer)
    if bias is not None:
        products += bias[[feature for feature, _ in rows]]
    return products


def _unlabelled(session: Session, layer: int) -> list[int]:
    rows = fetch(session.db, "SELECT feature FROM features WHERE layer = ? AND relation IS NULL", (layer,))
    return [feature for (feature,) in rows]


def _runs(session: Session) -> bool:
    """Whether the vindex holds the whole network."""
    try:
        session.require("inference", "WALK", "the whole network")
    except MissingPart:
        return False
    return True
