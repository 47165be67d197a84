"""What every feature promotes and answers to, read off the weights, as rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.extract.top_tokens import TopTokens
from larqldb.extract.words import is_name, is_word
from larqldb.storage.dtypes import as_float32

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

Array = np.ndarray[Any, Any]

TOP = 10  # tokens kept of every feature
ASSOCIATION = "associates"  # the one relation that weights alone show


class LayerWriter:
    """Writes ``features``, ``feature_tokens``, ``layers``, static edges and, at the end, ``entities``.

    ``embed`` is the input embedding [tokens, hidden] in its stored dtype. A static edge says: of all names in the
    vocabulary, this feature's gate answers most to the entity's (after the layer's norm), and it promotes the target.
    """

    def __init__(self, db: apsw.Connection, embed: Array, texts: Sequence[str], special: Collection[int]) -> None:
        self.db, self.texts = db, texts
        self.edges = 0
        self.profiles: list[tuple[float, float, float, float]] = []  # per layer, what bands are found from
        self._promoted = TopTokens(embed, TOP)
        self.names = np.array([i for i, text in enumerate(texts) if i not in special and is_name(text)], np.int64)
        self._answered = TopTokens(_unit_rms(embed[self.names]), 1) if len(self.names) else None
        db.execute(
            "INSERT INTO relations VALUES (?, ?, 'static')",
            (ASSOCIATION, "a feature answers most to the entity's embedding and promotes the target"),
        )

    @property
    def fallbacks(self) -> int:
        """Directions for which every score had to be computed."""
        return self._promoted.fallbacks + (self._answered.fallbacks if self._answered else 0)

    def write(self, layer: int, gate: Array, up: Array, down: Array, norm: NDArray[np.float32]) -> None:
        """One layer: ``gate``, ``up``, ``down`` [features, hidden], ``norm`` [hidden] the FFN norm's weight."""
        directions = as_float32(down)
        ids, scores = self._promoted.search(directions)
        gates = as_float32(gate)
        lengths = [np.linalg.norm(a, axis=1).tolist() for a in (gates, as_float32(up), directions)]
        first = ids[:, 0]
        self.db.executemany(
            "INSERT INTO features (layer, feature, token, token_id, score, gate_norm, up_norm, down_norm) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (layer, i, self.texts[token], token, score, *norms)
                for i, (token, score, *norms) in enumerate(
                    zip(first.tolist(), scores[:, 0].tolist(), *lengths, strict=True)
                )
            ),
        )
        self.db.executemany(
            "INSERT INTO feature_tokens VALUES (?, ?, ?, ?, ?)",
            (
                (layer, i, rank, token, score)
                for i, (row, values) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True))
                for rank, (token, score) in enumerate(zip(row, values, strict=True), start=1)
            ),
        )
        down_norm = np.array(lengths[2])
        size = down_norm * self._promoted.norms[first]
        alignment = np.divide(scores[:, 0], size, out=np.zeros(len(size)), where=size > 0)
        gate_mean, up_mean, down_mean = (float(np.mean(length)) for length in lengths)
        profile = (float(alignment.mean()), len(np.unique(first)) / len(first))
        self.db.execute(
            "INSERT INTO layers (layer, band, features, gate_norm, up_norm, down_norm, alignment, spread) "
            "VALUES (?, 'knowledge', ?, ?, ?, ?, ?, ?)",
            (layer, len(down), gate_mean, up_mean, down_mean, *profile),
        )
        self.profiles.append((*profile, gate_mean, down_mean))
        self._write_associations(layer, gates * norm, first)

    def write_entities(self) -> None:
        """Names that features promote: how many features, where most strongly, how many edges."""
        names = {i: self.texts[i].strip() for i in self.names.tolist()}
        self.db.execute("CREATE TEMP TABLE names (token_id INTEGER PRIMARY KEY, entity TEXT NOT NULL)")
        self.db.executemany("INSERT INTO names VALUES (?, ?)", names.items())
        self.db.execute("""
            INSERT INTO entities (entity, layer, features, score, edges)
            SELECT entity, layer, features, score,
                   (SELECT count(*) FROM edge_records AS e WHERE e.entity = found.entity)
            FROM (
                SELECT entity, layer, count(DISTINCT layer * 1000000 + feature) AS features, max(score) AS score
                FROM names JOIN feature_tokens USING (token_id) GROUP BY entity
            ) AS found ORDER BY entity""")
        self.db.execute("DROP TABLE names")

    def _write_associations(self, layer: int, gates: NDArray[np.float32], first: NDArray[np.int64]) -> None:
        if self._answered is None:
            return
        ids, scores = self._answered.search(gates)
        rows = []
        for feature, (name, score, target) in enumerate(
            zip(self.names[ids[:, 0]].tolist(), scores[:, 0].tolist(), first.tolist(), strict=True)
        ):
            if name != target and score > 0 and is_word(self.texts[target]):
                entity, word = self.texts[name].strip(), self.texts[target].strip()
                rows.append((entity, ASSOCIATION, word, layer, feature, score))
        self.db.executemany(
            "INSERT INTO edge_records (entity, relation, target, layer, feature, score, source) "
            "VALUES (?, ?, ?, ?, ?, ?, 'static')",
            rows,
        )
        self.edges += len(rows)


def _unit_rms(rows: Array) -> NDArray[np.float32]:
    """Embeddings as an RMS norm passes them on, before its weight: mean square 1."""
    floats = as_float32(rows)
    rms = np.sqrt(np.mean(np.square(floats), axis=1, keepdims=True, dtype=np.float32))
    return np.asarray(floats / np.maximum(rms, np.float32(1e-12)))
