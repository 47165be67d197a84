"""What features are called: the tokens they promote and their relations, for many features in one query."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from larqldb.functions.session import Session

Feature = tuple[int, int]  # layer, feature

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
    rows = fetch(session.db, _FIRST, (_packed(features),))
    return {(layer, feature): (token, relation) for layer, feature, token, relation in rows}


def token_lists(session: Session, features: Iterable[Feature]) -> dict[Feature, list[str]]:
    """For each feature the texts of its ten tokens, best first."""
    lists: dict[Feature, list[str]] = {}
    for layer, feature, text in fetch(session.db, _TOKENS, (_packed(features),)):
        lists.setdefault((layer, feature), []).append(text)
    return lists


def _packed(features: Iterable[Feature]) -> str:
    return json.dumps([(layer << 32) + feature for layer, feature in features])
