"""What weights alone say of names: static edges, and the table of entities.

A static edge says: of all names in the vocabulary, this feature's gate answers most to the entity's embedding, as it
enters the layer through its norm, and the feature promotes the target. Nothing has run to confirm it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.extract.top_tokens import TopTokens
from larqldb.extract.words import is_name, is_word
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import as_float32

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

    from larqldb.model.network import Network

Array = np.ndarray[Any, Any]

RELATION = "associates"  # the one relation that weights alone show
MEANING = "a feature answers most to the entity's embedding and promotes the target"


class Associations:
    """Names of the vocabulary as they enter a layer; ``write`` adds a layer's static edges, ``finish`` the entities.

    ``embed`` is [tokens, hidden] in its stored dtype; it is not kept. ``edges`` counts what was written.
    """

    def __init__(
        self, db: apsw.Connection, network: Network, embed: Array, texts: Sequence[str], special: Collection[int]
    ) -> None:
        self.db, self.texts, self.edges = db, texts, 0
        self.names = np.array([i for i, text in enumerate(texts) if i not in special and is_name(text)], np.int64)
        self._search = TopTokens(_entering(network, as_float32(embed[self.names])), 1) if len(self.names) else None
        db.execute("INSERT INTO relations VALUES (?, ?, 'static')", (RELATION, MEANING))

    def measure(self, layer: int, gate: Array, norm: NDArray[np.float32]) -> tuple[int, list[int], list[float]]:
        """The layer, and for each of its features the name it answers to most (as a token) and how much.

        ``gate`` is [features, hidden], ``norm`` [hidden] what the norm before the FFN multiplies by.
        """
        if self._search is None:
            return layer, [], []
        ids, scores = self._search.search(as_float32(gate) * norm)
        return layer, self.names[ids[:, 0]].tolist(), scores[:, 0].tolist()

    def write(self, layer: int, names: Sequence[int], scores: Sequence[float]) -> None:
        """Write a layer's static edges."""
        targets = fetch(self.db, "SELECT token_id FROM features WHERE layer = ? ORDER BY feature", (layer,))
        rows = []
        for feature, ((target,), name, score) in enumerate(zip(targets, names, scores, strict=bool(names))):
            if name != target and score > 0 and is_word(self.texts[target]):
                entity, word = self.texts[name].strip(), self.texts[target].strip()
                rows.append((entity, RELATION, word, layer, feature, score))
        self.db.executemany(
            "INSERT INTO edge_records (entity, relation, target, layer, feature, score, source) "
            "VALUES (?, ?, ?, ?, ?, ?, 'static')",
            rows,
        )
        self.edges += len(rows)

    def finish(self) -> None:
        """Names that features promote: how many features, where most strongly, how many edges."""
        names = ((i, self.texts[i].strip()) for i in self.names.tolist())
        self.db.execute("CREATE TEMP TABLE names (token_id INTEGER PRIMARY KEY, entity TEXT NOT NULL)")
        self.db.executemany("INSERT INTO names VALUES (?, ?)", names)
        self.db.execute("""
            INSERT INTO entities (entity, layer, features, score, edges)
            SELECT entity, layer, features, score,
                   (SELECT count(*) FROM edge_records AS e WHERE e.entity = found.entity)
            FROM (
                SELECT entity, layer, count(DISTINCT layer * 1000000 + feature) AS features, max(score) AS score
                FROM names JOIN feature_tokens USING (token_id) GROUP BY entity
            ) AS found ORDER BY entity""")
        self.db.execute("DROP TABLE names")


def _entering(network: Network, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings as a norm passes them on, before its weight: mean square 1, about the mean where it subtracts that."""
    if network.layer_norm:
        rows = rows - rows.mean(axis=1, keepdims=True)
    rms = np.sqrt(np.einsum("th,th->t", rows, rows) / np.float32(rows.shape[1]))
    rows /= np.maximum(rms, np.float32(1e-12))[:, None]
    return rows
