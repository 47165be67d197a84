"""What features are called: the tokens they promote and their relations, for many features in one query.

added_features() shows those that edits added, which are rows of no table, as the table ``features`` shows the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.functions.arguments import json_array
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from larqldb.functions.session import Session
    from larqldb.storage.edits import Operation

Feature = tuple[int, int]  # layer, feature
TOKENS = 10  # that a feature is called by

# Features go in as one JSON array of layer·2³² + feature. CROSS JOIN fixes the order: each feature's rows by their key.
_FIRST = """
SELECT f.layer, f.feature, f.token, f.relation
FROM json_each(?) AS wanted CROSS JOIN features AS f
  ON f.layer = wanted.value >> 32 AND f.feature = wanted.value & 4294967295
"""
_TOKENS = """
SELECT f.layer, f.feature, t.text
FROM json_each(?) AS wanted
CROSS JOIN feature_tokens AS f ON f.layer = wanted.value >> 32 AND f.feature = wanted.value & 4294967295
CROSS JOIN tokens AS t USING (token_id)
ORDER BY f.rank
"""


def first_tokens(session: Session, features: Iterable[Feature]) -> dict[Feature, tuple[str, str | None]]:
    """For each feature the token it promotes most, and its relation."""
    wanted = list(features)
    rows = fetch(session.db, _FIRST, (_packed(wanted),))
    found: dict[Feature, tuple[str, str | None]] = {
        (layer, feature): (token, relation) for layer, feature, token, relation in rows
    }
    for feature, operation in _added(session, wanted).items():
        found[feature] = added_tokens(session, feature)[0], operation.relation
    return found


def token_lists(session: Session, features: Iterable[Feature]) -> dict[Feature, list[str]]:
    """For each feature the texts of its ten tokens, best first."""
    wanted, lists = list(features), dict[Feature, list[str]]()
    for layer, feature, text in fetch(session.db, _TOKENS, (_packed(wanted),)):
        lists.setdefault((layer, feature), []).append(text)
    for place in _added(session, wanted):
        lists[place] = added_tokens(session, place)
    return lists


def added_tokens(session: Session, feature: Feature) -> list[str]:
    """The texts of the ten tokens that an added feature promotes, by E·down as for the base's own, ties by token id."""
    known = session.live.tokens
    if feature not in known:
        operations = session.live.operations
        missing = [place for place in operations if place not in known]
        downs = np.stack([vector for place in missing if (vector := operations[place].down) is not None])  # [n, hidden]
        scores = session.embeddings @ downs.T  # [vocab, n]
        for place, column in zip(missing, scores.T, strict=True):
            best = np.argpartition(-column, TOKENS)[:TOKENS]
            order = best[np.lexsort((best, -column[best]))]
            known[place] = [session.tokenizer.text(token) for token in order.tolist()]
            session.live.scores[place] = float(column[order[0]])
    return known[feature]


def added_features(session: Session, within: tuple[int, int] | None = None) -> Iterator[tuple[Any, ...]]:
    """The features that edits in effect added, by layer and number; ``within`` are the first and last layer wanted.

    Columns: layer, feature, token, also (the next nine tokens, JSON), relation, score (E·down for the token), source
    (the operation that added it), gate_norm, up_norm (NULL where the network has no ups), down_norm, entity, target,
    patch.
    """
    live = session.live
    for place in sorted(live.operations):
        if within is not None and not within[0] <= place[0] <= within[1]:
            continue
        made = live.operations[place]
        first, *also = added_tokens(session, place)
        norms = [None if each is None else float(np.linalg.norm(each)) for each in (made.gate, made.up, made.down)]
        yield (
            *place, first, json_array(also), made.relation, live.scores[place], made.operation, *norms, made.entity,
            made.target, made.patch,
        )  # fmt: skip


def _added(session: Session, features: Iterable[Feature]) -> dict[Feature, Operation]:
    """Those of the features that edits added."""
    operations = session.live.operations
    return {feature: operations[feature] for feature in features if feature in operations} if operations else {}


def _packed(features: Iterable[Feature]) -> str:
    return json.dumps([(layer << 32) + feature for layer, feature in features])
