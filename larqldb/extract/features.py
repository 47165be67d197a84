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
    """A layer's top tokens: ids and scores [features, TOP]; its vectors' norms [features], ``ups`` None without ups."""

    layer: int
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    gates: NDArray[np.float32]
    ups: NDArray[np.float32] | None
    downs: NDArray[np.float32]


class LayerWriter:
    """Writes ``features``, ``feature_tokens`` and ``layers``, a layer at a time.

    ``embed`` is the input embedding [tokens, hidden] in its stored dtype, ``texts`` what each token adds to a text.
    ``profiles`` collects per layer what bands are found from: alignment, spread, mean gate and down norms.
    """

    def __init__(self, db: apsw.Connection, embed: Array, texts: Sequence[str]) -> None:
        self.db, self.texts = db, texts
        self.promoted = TopTokens(embed, TOP)
        self.profiles: list[tuple[float, float, float, float]] = []

    def measure(self, layer: int, gate: Array, up: Array | None, down: Array) -> Measured:
        """What a layer's rows say; ``gate``, ``up``, ``down`` are [features, hidden] in their stored dtype.

        ``up`` is None where the network has none.
        """
        directions = as_float32(down)
        ids, scores = self.promoted.search(directions)
        ups = None if up is None else _lengths(as_float32(up))
        return Measured(layer, ids, scores, _lengths(as_float32(gate)), ups, _lengths(directions))

    def write(self, measured: Measured) -> None:
        """Write the rows of a layer."""
        layer, ids, scores, downs = measured.layer, measured.ids, measured.scores, measured.downs
        first = ids[:, 0]
        ups = [None] * len(first) if measured.ups is None else measured.ups.tolist()
        self.db.executemany(
            "INSERT INTO features (layer, feature, token, token_id, score, gate_norm, up_norm, down_norm) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (layer, i, self.texts[token], token, score, *norms)
                for i, (token, score, *norms) in enumerate(
                    zip(
                        first.tolist(), scores[:, 0].tolist(), measured.gates.tolist(), ups, downs.tolist(), strict=True
                    )
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
        size = downs.astype(np.float64) * self.promoted.norms[first]
        alignment = np.divide(scores[:, 0], size, out=np.zeros(len(size)), where=size > 0)
        gate_mean, down_mean = (float(np.mean(norms, dtype=np.float64)) for norms in (measured.gates, downs))
        up_mean = None if measured.ups is None else float(np.mean(measured.ups, dtype=np.float64))
        profile = (float(alignment.mean()), len(np.unique(first)) / len(first))
        self.db.execute(
            "INSERT INTO layers (layer, band, features, gate_norm, up_norm, down_norm, alignment, spread) "
            "VALUES (?, 'knowledge', ?, ?, ?, ?, ?, ?)",
            (layer, len(first), gate_mean, up_mean, down_mean, *profile),
        )
        self.profiles.append((*profile, gate_mean, down_mean))


def _lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The L2 norm of each row of [features, hidden]."""
    return np.asarray(np.linalg.norm(vectors, axis=1))
