"""Browsing the features: walk(), describe() and gate_match(), by gate search over embeddings.

A query vector enters a layer as the network's own FFN input would if the residual were the embedding alone: scaled to
mean square 1 and multiplied by the layer's norm. That is an approximation, good in the first layers and worse later,
which is why its answers are marked ``static``. Nothing here runs the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import DataError, NotSupportedError, ProgrammingError
from larqldb.extract.words import is_word
from larqldb.model.activations import ACTIVATIONS
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY, as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

Row = tuple[Any, ...]
Within = tuple[int, int] | None

NEAREST = 20  # features of a layer that describe() looks at
STANDOUT = 3.0  # and how many standard deviations above its layer's mean a gate must be
BRIEF = 10  # rows of describe() BRIEF
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
    """The ``top`` features of each layer that answer most to the prompt's last token, by |gate·x|."""
    if mode not in MODES:
        raise ProgrammingError(f"mode {mode!r} is not one of {', '.join(MODES)}")
    if mode != "pure":
        raise NotSupportedError(f"WALK MODE {mode.upper()} is not available in this version; MODE PURE is")
    count = positive(top, "top")
    ids = token_ids(session, prompt, "prompt")
    residual = session.embedding(ids[-1:])[0]
    for layer in session.layer_range(first_layer, last_layer, within):
        x = enter(session, residual, layer)
        scores = session.matrix("gate", layer) @ x
        allowed = labelled(session, layer) if relations_only else None
        chosen = best(np.abs(scores), count, allowed)
        worked = _activations(session, layer, chosen, scores[chosen], x)
        names = _names(session, layer, chosen)
        for rank, (feature, gate) in enumerate(zip(chosen, scores[chosen].tolist(), strict=True), start=1):
            tokens, relation = names[feature]
            yield layer, rank, feature, gate, *worked[rank - 1], tokens[0], json_array(tokens[1:]), relation


def gate_match(
    session: Session,
    query: object,
    k: int | None = None,
    layer: int | None = None,
    within: Within = None,
) -> Iterator[Row]:
    """The ``k`` features of each layer (all of them without k) with the largest gate·q, for a text or a vector.

    A text is the mean of its tokens' embeddings as it enters the layer; a vector is a BLOB of hidden_size float32
    numbers or a JSON array and is taken as it is. ``distance`` is the Euclidean one between gate and query.
    """
    count = None if k is None else positive(k, "k")
    fixed = vector(session, query)
    text = [] if fixed is not None else [session.embedding(token_ids(session, query, "query")).mean(axis=0)]
    for number in session.layer_range(layer, layer, within):
        x = enter(session, text[0], number) if fixed is None else fixed
        gates = session.matrix("gate", number)
        scores = gates @ x
        norms = np.einsum("fh,fh->f", gates, gates)
        distances = np.sqrt(np.maximum(norms + x @ x - 2 * scores, 0))
        for feature in best(scores, len(scores) if count is None else count, None):
            yield number, feature, float(scores[feature]), float(distances[feature])


@dataclass
class _Association:
    """A token that features answering to an entity promote, merged over layers."""

    target: str
    score: float
    layer: int
    feature: int
    relation: str | None
    also: list[str]
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
    """What is known of an entity: confirmed edges first, then what features that answer to it promote, by gate."""
    layers = session.layer_range(first_layer, last_layer)
    bands = dict(fetch(session.db, "SELECT layer, band FROM layers"))
    wanted = [layer for layer in layers if band in (None, "all", bands[layer])]
    rows = list(_confirmed(session, entity, wanted, bands))
    merge = detail != "raw"
    for found in _associations(session, entity, wanted, merge):
        if relations_only and found.relation is None:
            continue
        hits, spots = len(found.layers), sorted(set(found.layers))
        rows.append((
            found.relation, found.target, found.score, found.layer, found.feature, json_array(spots), hits,
            json_array(found.also), bands[found.layer], None, "static",
        ))  # fmt: skip
    yield from rows[:BRIEF] if detail == "brief" else rows if detail else rows[: 5 * BRIEF]


def _confirmed(session: Session, entity: str, layers: Sequence[int], bands: dict[int, str]) -> Iterator[Row]:
    """Edges that something has confirmed, surest first."""
    found = fetch(
        session.db,
        "SELECT relation, target, score, layer, feature, confidence, source FROM edges "
        "WHERE entity = ? COLLATE NOCASE AND source <> 'static' ORDER BY confidence DESC, score DESC",
        (entity,),
    )
    for relation, target, score, layer, feature, confidence, source in found:
        if layer is None or layer in layers:
            at = json_array([] if layer is None else [layer])
            yield relation, target, score, layer, feature, at, 1, "[]", bands.get(layer), confidence, source


def _associations(session: Session, entity: str, layers: Sequence[int], merge: bool) -> list[_Association]:
    """Tokens promoted by the features whose gates stand out for the entity, largest gate first."""
    # As it stands inside a sentence: with a space before it, where the tokenizer makes one.
    ids = token_ids(session, f" {entity}", "entity")
    residual = session.embedding(ids).mean(axis=0)
    own = {entity.strip().casefold(), *(part.casefold() for part in entity.split())}
    merged: dict[object, _Association] = {}
    for layer in layers:
        scores = session.matrix("gate", layer) @ enter(session, residual, layer)
        least = max(0.0, float(scores.mean() + STANDOUT * scores.std()))
        chosen = [feature for feature in best(scores, NEAREST, None) if scores[feature] >= least]
        names = _names(session, layer, chosen)
        for feature in chosen:
            tokens, relation = names[feature]
            words = [token.strip() for token in tokens if is_word(token)]
            if not is_word(tokens[0]) or words[0].casefold() in own:
                continue
            key = words[0].casefold() if merge else (layer, feature)
            score, also = float(scores[feature]), list(dict.fromkeys(w for w in words[1:] if w != words[0]))
            known = merged.get(key)
            if known is None:
                merged[key] = known = _Association(words[0], score, layer, feature, relation, also)
            elif score > known.score:
                known.target, known.score, known.layer, known.feature = words[0], score, layer, feature
                known.relation, known.also = relation, also
            known.layers.append(layer)
    return sorted(merged.values(), key=lambda found: (-found.score, found.layer, found.feature))


def enter(session: Session, residual: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
    """A residual [hidden] as the layer's FFN receives it: RMS-normed, times the norm's weight."""
    network = session.network
    mean_square = np.mean(np.square(residual * np.float32(network.embed_scale)), dtype=np.float32)
    scaled = residual * np.float32(network.embed_scale) / np.sqrt(mean_square + np.float32(network.norm_eps))
    return np.asarray(scaled * session.norm("ffn_norm", layer), np.float32)


def best(scores: NDArray[np.float32], count: int, allowed: NDArray[np.int64] | None) -> list[int]:
    """The features with the largest scores, largest first, ties by lower number."""
    features = np.arange(len(scores)) if allowed is None else allowed
    order = np.lexsort((features, -scores[features]))[:count]
    return [int(feature) for feature in features[order]]


def labelled(session: Session, layer: int) -> NDArray[np.int64]:
    """The features of a layer that have a relation."""
    found = fetch(
        session.db, "SELECT feature FROM features WHERE layer = ? AND relation IS NOT NULL ORDER BY feature", (layer,)
    )
    return np.array([feature for (feature,) in found], np.int64)


def token_ids(session: Session, text: object, what: str) -> list[int]:
    """The tokens of a text, without special ones; DataError where there are none, ProgrammingError for other types."""
    if not isinstance(text, str):
        raise ProgrammingError(f"{what} must be text, not {type(text).__name__}")
    ids = session.tokenizer.encode(text, special=False)
    if not text.strip() or not ids:
        raise DataError(f"the {what} is empty: give at least one word")
    return ids


def vector(session: Session, query: object) -> NDArray[np.float32] | None:
    """A query that is a vector (a BLOB of float32, or a JSON array) as float32 [hidden]; None for a text."""
    hidden = session.network.hidden
    if isinstance(query, bytes):
        found = np.frombuffer(query[: len(query) // 4 * 4], NUMPY["F32"])
    elif isinstance(query, str) and query.lstrip().startswith("["):
        try:
            found = np.array(json.loads(query), np.float32)
        except (ValueError, TypeError):
            return None  # a text that happens to start with a bracket
    else:
        return None
    if found.shape != (hidden,):
        raise DataError(f"the query vector has shape {list(found.shape)}, this model's vectors are [{hidden}]")
    return found


def positive(value: object, what: str) -> int:
    """A count from SQL; ProgrammingError unless it is a whole number from 1."""
    if not isinstance(value, int) or value < 1:
        raise ProgrammingError(f"{what} must be a whole number from 1, not {value!r}")
    return value


def json_array(values: Sequence[object]) -> str:
    """A JSON array as text, in the original script."""
    return json.dumps(values, ensure_ascii=False)


def _names(session: Session, layer: int, features: Sequence[int]) -> dict[int, tuple[list[str], str | None]]:
    """For each feature the texts of its ten tokens, best first, and its relation."""
    names: dict[int, tuple[list[str], str | None]] = {}
    for feature in features:
        rows = fetch(
            session.db,
            "SELECT t.text FROM feature_tokens AS f JOIN tokens AS t USING (token_id) "
            "WHERE f.layer = ? AND f.feature = ? ORDER BY f.rank",
            (layer, feature),
        )
        relation = session.db.execute(
            "SELECT relation FROM features WHERE layer = ? AND feature = ?", (layer, feature)
        ).get
        names[feature] = ([str(text) for (text,) in rows], relation)
    return names


def _activations(
    session: Session, layer: int, features: Sequence[int], gates: NDArray[np.float32], x: NDArray[np.float32]
) -> list[tuple[float | None, float | None]]:
    """(activation, contribution) of features: act(gate)·up·x and its size times ‖down‖; None at level browse."""
    up = session.store.find("up", layer)
    if up is None or up.storage == "absent":
        return [(None, None)] * len(features)
    dtype = NUMPY[up.dtype]
    worked: list[tuple[float | None, float | None]] = []
    opened = ACTIVATIONS[session.network.activation](gates)
    for feature, gate in zip(features, opened.tolist(), strict=True):
        row = session.db.execute(
            "SELECT v.up, f.down_norm FROM feature_vectors AS v JOIN features AS f USING (layer, feature) "
            "WHERE v.layer = ? AND v.feature = ?",
            (layer, feature),
        ).fetchone()
        assert row is not None
        activation = gate * float(as_float32(np.frombuffer(row[0], dtype)) @ x)
        worked.append((activation, abs(activation) * row[1]))
    return worked
