"""Associations: what features whose gates answer to an entity promote, read off the weights alone.

The entity is the mean of its tokens' embeddings, as if that alone entered every layer: an approximation, good in the
first layers and worse later. Nothing here runs the model, so nothing here is confirmed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from larqldb.extract.words import is_word
from larqldb.functions.known import spellings
from larqldb.functions.labels import first_tokens
from larqldb.functions.products import products, rounding
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from larqldb.functions.session import Session

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]

NEAREST = 20  # features of a layer that are looked at
# What a gate must reach, as a multiple of the spread that gates pointing anywhere would give: ‖gate‖·‖x‖/√hidden.
# The layers' own spreads are within 20 % of that in SmolLM2-135M and Gemma 3 270M, but for the first and last one.
STANDOUT = 3.0
KEPT = 64  # entities whose associations are remembered until the file changes: scanning all gates is most of the work


@dataclass(slots=True)
class Association:
    """A token that features answering to an entity promote, merged over layers; the strongest feature's facts.

    ``relation`` is that feature's where the target is known as one of the relation's, or the label is a user's own: a
    feature that helps to name languages promotes other words too.
    """

    target: str
    score: float
    layer: int
    feature: int
    relation: str | None
    layers: list[int] = field(default_factory=list)
    also: str | None = None  # its other words, once they were asked for


_remembered: WeakKeyDictionary[Session, OrderedDict[object, list[Association]]] = WeakKeyDictionary()


def associations(
    session: Session, entity: str, ids: list[int], gate_norms: dict[int, float], *, merge: bool
) -> list[Association]:
    """Readable tokens other than the entity that the features standing out for it promote, strongest first.

    ``ids`` are the entity's tokens, ``gate_norms`` the mean norms of the gates of the layers to look at. With ``merge``
    a target comes once, else once for each feature.
    """
    remembered = _remembered.setdefault(session, OrderedDict())
    state = session.db.data_version("main"), session.db.total_changes()
    key = (entity, *gate_norms, merge, STANDOUT, state)
    if key not in remembered:
        remembered[key] = _found(session, entity, ids, gate_norms, merge=merge)
        while len(remembered) > KEPT:
            remembered.popitem(last=False)
    remembered.move_to_end(key)
    return remembered[key]


def _found(
    session: Session, entity: str, ids: list[int], gate_norms: dict[int, float], *, merge: bool
) -> list[Association]:
    residual = session.embedding(ids).mean(axis=0)
    own = {entity.strip().casefold(), *(part.casefold() for part in entity.split())}
    features = nearest(*standing_out(session, residual, gate_norms)) if gate_norms else []
    names = first_tokens(session, ((layer, feature) for layer, feature, _ in features))
    merged: dict[object, Association] = {}
    for layer, feature, score in features:
        token, relation = names[layer, feature]
        shown = word(token)
        if not shown or (folded := shown.casefold()) in own:
            continue
        key = folded if merge else (layer, feature)
        known = merged.get(key)
        if known is None:
            known = merged[key] = Association(shown, score, layer, feature, relation)
        elif score > known.score:
            known.target, known.score, known.layer, known.feature, known.relation = (
                shown,
                score,
                layer,
                feature,
                relation,
            )
        known.layers.append(layer)
    sensible = _sensible(session, list(merged.values()))
    for one in merged.values():
        one.relation = one.relation if (one.layer, one.feature) in sensible else None
    return sorted(merged.values(), key=lambda one: (-one.score, one.layer, one.feature))


# Those of some features whose label is a user's own, or is from probes and their target one of the relation's.
_SENSIBLE = """
SELECT f.layer, f.feature
FROM json_each(?) AS wanted CROSS JOIN features AS f ON f.layer = wanted.value ->> 0 AND f.feature = wanted.value ->> 1
WHERE coalesce(f.label_source, 'user') NOT IN ('probe', 'cluster', 'pattern')
OR f.label_source = 'probe' AND EXISTS (
  SELECT 1 FROM json_each(wanted.value, '$[2]') AS target
  WHERE EXISTS (SELECT 1 FROM facts WHERE facts.target = target.value AND facts.relation = f.relation)
  OR EXISTS (SELECT 1 FROM edge_records AS e WHERE e.target = target.value AND e.relation = f.relation))
"""


def _sensible(session: Session, found: list[Association]) -> set[tuple[int, int]]:
    """The places of associations whose relation goes with their target."""
    labelled = [one for one in found if one.relation is not None]
    places = [[one.layer, one.feature, spellings(one.target)] for one in labelled]
    confirmed = set(fetch(session.db, _SENSIBLE, (json.dumps(places),))) if places else set()
    return confirmed | {(one.layer, one.feature) for one in labelled} & session.live.operations.keys()


def standing_out(session: Session, residual: Floats, gate_norms: dict[int, float]) -> tuple[Ids, Ids, Scores]:
    """The features of some layers whose gates stand out for a residual: layers, features, gate·x in float64.

    ``gate_norms`` are the mean norms of those layers' gates. Several layers are scanned at once where the session
    has room for their gates in 8 bits.
    """
    unit, layers = session.unit(residual), list(gate_norms)
    inputs = unit * np.stack([session.norm("ffn_norm", layer) for layer in layers])  # [layers, hidden]
    spreads = np.linalg.norm(inputs, axis=1) * np.array(list(gate_norms.values())) / len(unit) ** 0.5
    scan = session.gate_scan() if len(layers) > 1 else None
    if scan is not None:
        least = np.full(len(session.layers), np.inf)
        least[np.array(layers) - session.layers[0]] = STANDOUT * spreads
        return scan.find(unit, least)
    found: list[tuple[Ids, Ids, Scores]] = []
    for layer, x, reach in zip(layers, inputs, (STANDOUT * spreads).tolist(), strict=True):
        gates = session.matrix("gate", layer)
        near = np.flatnonzero(gates @ x >= reach - 2 * rounding(session.largest_norm("gate", layer), x))
        scores = products(gates[near] * session.norm("ffn_norm", layer), unit)  # in the order that the scan computes
        held = scores >= reach
        found.append((np.full(np.count_nonzero(held), layer), near[held], scores[held]))
    at, features, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return at, features, scores


def nearest(layers: Ids, features: Ids, scores: Scores) -> list[tuple[int, int, float]]:
    """The strongest few of each layer, by layer: layer, feature, score."""
    order = np.lexsort((features, -scores, layers))
    layers = layers[order]
    rank = np.arange(len(order)) - np.searchsorted(layers, layers)  # in its layer
    order = order[rank < NEAREST]
    return list(zip(layers[rank < NEAREST].tolist(), features[order].tolist(), scores[order].tolist(), strict=True))


@lru_cache(1 << 16)
def word(token: str) -> str:
    """A token as a word to show; empty where it does not read as one."""
    return token.strip() if is_word(token) else ""
