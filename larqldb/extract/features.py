"""What every feature promotes, and what that says of its layer, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.extract.top_tokens import TopTokens
from larqldb.storage.dtypes import as_float32

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

Array = np.ndarray[Any, Any]

TOP = 10  # tokens kept of every feature


@dataclass(frozen=True, slots=True)
class Measured:
    """A layer's top tokens: ids and scores [features, TOP]; ``lengths`` are its gate, up and down norms [features]."""

    layer: int
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    lengths: list[list[float]]


class LayerWriter:
    """Writes ``features``, ``feature_tokens`` and ``layers``, a layer at a time.

    ``embed`` is the input embedding [tokens, hidden] in its stored dtype, ``texts`` what each token adds to a text.
    ``profiles`` collects per layer what bands are found from: alignment, spread, mean gate and down norms.
    """

    def __init__(self, db: apsw.Connection, embed: Array, texts: Sequence[str]) -> None:
        self.db, self.texts = db, texts
        self.promoted = TopTokens(embed, TOP)
        self.profiles: list[tuple[float, float, float, float]] = []

    def measure(self, layer: int, gate: Array, up: Array, down: Array) -> Measured:
        """What a layer's rows say; ``gate``, ``up``, ``down`` are [features, hidden] in their stored dtype."""
        directions = as_float32(down)
        ids, scores = self.promoted.search(directions)
        lengths = [np.linalg.norm(a, axis=1).tolist() for a in (as_float32(gate), as_float32(up), directions)]
        return Measured(layer, ids, scores, lengths)

    def write(self, measured: Measured) -> None:
        """Write the rows of a layer."""
        layer, ids, scores, lengths = measured.layer, measured.ids, measured.scores, measured.lengths
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
        size = down_norm * self.promoted.norms[first]
        alignment = np.divide(scores[:, 0], size, out=np.zeros(len(size)), where=size > 0)
        gate_mean, up_mean, down_mean = (float(np.mean(length)) for length in lengths)
        profile = (float(alignment.mean()), len(np.unique(first)) / len(first))
        self.db.execute(
            "INSERT INTO layers (layer, band, features, gate_norm, up_norm, down_norm, alignment, spread) "
            "VALUES (?, 'knowledge', ?, ?, ?, ?, ?, ?)",
            (layer, len(first), gate_mean, up_mean, down_mean, *profile),
        )
        self.profiles.append((*profile, gate_mean, down_mean))
