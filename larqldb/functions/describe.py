"""describe(): what is known of an entity, from confirmed edges and from the features that answer to it.

The entity is the mean of its tokens' embeddings, as if that alone entered every layer: an approximation, good in the
first layers and worse later, which is why what features say is marked ``static``. Nothing here runs the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from larqldb.extract.words import is_word
from larqldb.functions.arguments import json_array, mention, one_of
from larqldb.functions.labels import first_tokens, token_lists
from larqldb.functions.products import products, rounding
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from larqldb.functions.session import Session

Row = tuple[Any, ...]
Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]

NEAREST = 20  # features of a layer that are looked at
# What a gate must reach, as a multiple of the spread that gates pointing anywhere would give: ‖gate‖·‖x‖/√hidden.
# The layers' own spreads are within 20 % of that in SmolLM2-135M and Gemma 3 270M, but for the first and last one.
STANDOUT = 3.0
BRIEF, USUAL = 10, 50  # rows
BANDS = ("syntax", "knowledge", "output", "all")
DETAILS = ("brief", "verbose", "raw")


@dataclass(slots=True)
class _Association:
    """A token that features answering to the entity promote, merged over layers; the strongest feature's facts."""

    target: str
    score: float
    layer: int
    feature: int
    relation: str | None
    layers: list[int] = field(default_factory=list)


def describe(
    session: Session,
    entity: str,
    first_layer: int | None = None,
    last_layer: int | None = None,
    band: str | None = None,
    relations_only: int = 0,
    detail: str | None = None,
) -> Iterator[Row]:
    """What is known of an entity: confirmed edges first, then what features that answer to it promote, by gate.

    ``band`` is syntax, knowledge, output or all; without it and without layers, all but syntax, where words rather than
    things are told apart. ``detail`` is brief (10 rows), verbose (all rows) or raw (all, one
    for each feature instead of each target); without it there are 50 rows. Columns: relation, target, score (gate·x),
    layer, feature (the strongest's), layers (JSON), hits (features), also (its other words, JSON), band, confidence,
    source.
    """
    if band is not None:
        band = one_of(band, BANDS, "band")
    if detail is not None:
        detail = one_of(detail, DETAILS, "detail")
    about = {
        layer: (named, norm) for layer, named, norm in fetch(session.db, "SELECT layer, band, gate_norm FROM layers")
    }
    usual = band is None and first_layer is None and last_layer is None
    wanted = [
        n
        for n in session.layer_range(first_layer, last_layer)
        if (about[n][0] != "syntax" if usual else band in (None, "all", about[n][0]))
    ]
    ids = mention(session, entity, "entity")
    rows = list(_confirmed(session, entity, wanted, {layer: named for layer, (named, _) in about.items()}))
    found = _associations(session, entity, ids, {layer: about[layer][1] for layer in wanted}, merge=detail != "raw")
    if relations_only:
        found = [one for one in found if one.relation is not None]
    if detail in (None, "brief"):
        most = BRIEF if detail else USUAL
        rows, found = rows[:most], found[: max(0, most - len(rows))]
    yield from rows
    tokens = token_lists(session, ((one.layer, one.feature) for one in found))
    for one in found:
        words = [word for word in map(_word, tokens[one.layer, one.feature][1:]) if word]
        also = [word for word in dict.fromkeys(words) if word != one.target]
        yield (
            one.relation, one.target, one.score, one.layer, one.feature, json_array(sorted(set(one.layers))),
            len(one.layers), json_array(also), about[one.layer][0], None, "static",
        )  # fmt: skip


def _confirmed(session: Session, entity: str, layers: Sequence[int], bands: dict[int, str]) -> Iterator[Row]:
    """Edges that something has confirmed, surest first; the entity's capitals may differ as a whole."""
    name = entity.strip()
    spellings = dict.fromkeys((entity, name, name.lower(), name.upper(), name.title(), name.capitalize()))
    found = fetch(
        session.db,
        "SELECT relation, target, score, layer, feature, confidence, source FROM edges "
        f"WHERE entity IN ({', '.join('?' * len(spellings))}) AND source <> 'static' "
        "ORDER BY confidence DESC, score DESC, layer, feature, target",
        tuple(spellings),
    )
    for relation, target, score, layer, feature, confidence, source in found:
        if layer is None or layer in layers:
            at = json_array([] if layer is None else [layer])
            yield relation, target, score, layer, feature, at, 1, "[]", bands.get(layer), confidence, source


def _associations(
    session: Session, entity: str, ids: list[int], gate_norms: dict[int, float], *, merge: bool
) -> list[_Association]:
    """Readable tokens other than the entity that the features standing out for it promote, strongest first."""
    residual = session.embedding(ids).mean(axis=0)
    own = {entity.strip().casefold(), *(part.casefold() for part in entity.split())}
    features = nearest(*standing_out(session, residual, gate_norms)) if gate_norms else []
    names = first_tokens(session, ((layer, feature) for layer, feature, _ in features))
    merged: dict[object, _Association] = {}
    for layer, feature, score in features:
        token, relation = names[layer, feature]
        word = _word(token)
        if not word or (folded := word.casefold()) in own:
            continue
        key = folded if merge else (layer, feature)
        known = merged.get(key)
        if known is None:
            known = merged[key] = _Association(word, score, layer, feature, relation)
        elif score > known.score:
            known.target, known.score, known.layer, known.feature, known.relation = (
                word,
                score,
                layer,
                feature,
                relation,
            )
        known.layers.append(layer)
    return sorted(merged.values(), key=lambda one: (-one.score, one.layer, one.feature))


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
def _word(token: str) -> str:
    """A token as a word to show; empty where it does not read as one."""
    return token.strip() if is_word(token) else ""
