"""walk(): what features answer to a prompt, layer by layer.

A prompt enters a layer as the network's own FFN input would if the residual were the embedding of its last token
alone: an approximation, good in the first layers and worse later. Nothing here runs the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import NotSupportedError
from larqldb.functions.arguments import json_array, one_of, positive, token_ids
from larqldb.functions.labels import token_lists
from larqldb.functions.products import best, products
from larqldb.model.activations import ACTIVATIONS
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY, as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

Row = tuple[Any, ...]
Within = tuple[int, int] | None

MODES = ("hybrid", "pure", "dense")


def walk(
    session: Session,
    prompt: str,
    top: int = 10,
    mode: str = "pure",
    first_layer: int | None = None,
    last_layer: int | None = None,
    relations_only: int = 0,
    within: Within = None,
) -> Iterator[Row]:
    """The ``top`` features of each layer that answer most to the prompt's last token, by |gate·x|.

    Columns: layer, rank, feature, gate (gate·x), activation (act(gate·x)·up·x, without up where the network has none),
    contribution (its size times ‖down‖; both NULL where the vindex lacks the up vectors), token, also (the next nine
    tokens, JSON), relation.
    """
    mode = one_of(mode, MODES, "mode")
    if mode != "pure":
        raise NotSupportedError(f"WALK MODE {mode.upper()} is not available in this version; MODE PURE is")
    count = positive(top, "top")
    ids = token_ids(session, prompt, "prompt")
    residual = session.embedding(ids[-1:])[0]
    for layer in session.layer_range(first_layer, last_layer, within):
        x = session.enter(residual, layer)
        places, gates = best(
            session.features("gate", layer), session.largest_norm("gate", layer), x, count,
            absolute=True, allowed=_allowed(session, layer, bool(relations_only)),
            added=session.feature_bias("gate", layer),
        )  # fmt: skip
        chosen = session.numbers(layer, places.tolist())
        tokens = token_lists(session, ((layer, feature) for feature in chosen))
        worked = _work(session, layer, chosen, gates, x)
        for rank, (feature, gate) in enumerate(zip(chosen, gates.tolist(), strict=True), start=1):
            relation, activation, contribution = worked[feature]
            first, *also = tokens[layer, feature]
            yield layer, rank, feature, gate, activation, contribution, first, json_array(also), relation


def _allowed(session: Session, layer: int, labelled: bool) -> NDArray[np.int64] | None:
    """The places of features that may be chosen, ascending; None for all: not those removed, or only ``labelled``."""
    live = session.live
    removed, added = live.removed(layer), live.relations(layer)
    if not labelled and not removed:
        return None
    own = np.ones(session.network.ffn, np.bool_)
    if labelled:
        found = fetch(session.db, "SELECT feature FROM features WHERE layer = ? AND relation IS NOT NULL", (layer,))
        own[:] = False
        own[[feature for (feature,) in found]] = True
    own[removed] = False
    others = [relation is not None or not labelled for relation in added]
    return np.flatnonzero(np.append(own, np.array(others, np.bool_)))


def _work(
    session: Session, layer: int, features: list[int], gates: NDArray[np.float64], x: NDArray[np.float32]
) -> dict[int, tuple[str | None, float | None, float | None]]:
    """For each feature its relation, act(gate)·up·x, and the size of that times ‖down‖; None where ups are missing."""
    rows = fetch(
        session.db,
        "SELECT f.feature, f.relation, f.down_norm, v.up FROM json_each(?2) AS wanted "
        "CROSS JOIN features AS f ON f.layer = ?1 AND f.feature = wanted.value "
        "LEFT JOIN feature_vectors AS v ON v.layer = f.layer AND v.feature = f.feature",
        (layer, json_array(features)),
    )
    place = {feature: number for number, feature in enumerate(features)}
    rows.sort(key=lambda row: place[row[0]])
    added = [feature for feature in features if (layer, feature) in session.live.operations]
    if added:
        own = [number for number, feature in enumerate(features) if feature not in added]
        found = _work(session, layer, [features[number] for number in own], gates[own], x) if own else {}
        return found | _added_work(session, layer, added, gates[[place[feature] for feature in added]], x)
    opened = ACTIVATIONS[session.network.activation](gates.astype(np.float32)).astype(np.float64)
    if session.network.gated:
        stored = session.store.find("up", layer)
        if stored is None or any(up is None for *_, up in rows):
            return {feature: (relation, None, None) for feature, relation, *_ in rows}
        ups = np.frombuffer(b"".join(up for *_, up in rows), NUMPY[stored.dtype])
        bias = session.bias("up", layer)
        ups_x = products(as_float32(ups.reshape(len(rows), session.network.hidden)), x)
        opened *= ups_x if bias is None else ups_x + bias[features]
    activations = opened.tolist()
    return {
        feature: (relation, activation, abs(activation) * down_norm)
        for (feature, relation, down_norm, _), activation in zip(rows, activations, strict=True)
    }


def _added_work(
    session: Session, layer: int, features: list[int], gates: NDArray[np.float64], x: NDArray[np.float32]
) -> dict[int, tuple[str | None, float | None, float | None]]:
    """The same for features that edits added."""
    opened = ACTIVATIONS[session.network.activation](gates.astype(np.float32)).astype(np.float64)
    found: dict[int, tuple[str | None, float | None, float | None]] = {}
    for feature, amount in zip(features, opened.tolist(), strict=True):
        operation = session.live.operations[layer, feature]
        assert operation.down is not None
        activation = amount if operation.up is None else amount * float(products(operation.up[None], x)[0])
        found[feature] = operation.relation, activation, abs(activation) * float(np.linalg.norm(operation.down))
    return found
