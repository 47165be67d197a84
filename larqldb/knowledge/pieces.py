"""Pieces of evidence: the features and heads that wrote an answer in all of its wordings, strongest first.

A part's strength is what it does for the answer's lead over the next likeliest token, what later FFNs make of it
included (``larqldb.knowledge.leads``), times the fourth root of that share of all it writes; a head's is divided by the
fourth root of the numbers it writes. Found by zeroing the 32 strongest at every position, and 32 others of the same
layers and sizes: the first must change the answer, the others must not. Without the fourth root the others change
more; with a square root the strongest change less. Of edges rated one half or more, in relations on which none of this
was chosen, 98 % of Gemma 3 270M's (n = 60) and all of SmolLM2-135M-Instruct's (n = 25) change without what is said to
decide them, about 20 parts, and 2 and 4 % without others (tools/bench/knowledge.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.knowledge.evidence import Parts, Shares

LEAST = 0.01  # of the logit: what evidence goes down to
STRONGEST = 32  # that are kept however little they add: what later FFNs make of it may be much
# By how much the strongest must do more for the lead than it comes to, so that without them another answer is to be
# expected: what is left of a network makes up for part of what it lost.
SURELY = 2.5


@dataclass(frozen=True)
class Piece:
    """A feature or head that wrote an answer: what it adds to the logit, mean over the wordings.

    ``wordings`` is in how many of them it came to ``LEAST`` of the logit by itself.
    """

    kind: str
    layer: int
    number: int
    contribution: float
    wordings: int


@dataclass(frozen=True)
class Written:
    """The ``pieces`` that wrote an answer, strongest first, and the ``logit`` that their contributions are shares of.

    Without the first ``decisive`` pieces another answer is to be expected; None where that cannot be said of
    ``STRONGEST`` or fewer, and where another answer was given.
    """

    pieces: tuple[Piece, ...] = ()
    logit: float | None = None
    decisive: int | None = None

    @property
    def feature(self) -> Piece | None:
        """The feature that adds most to the logit."""
        features = (piece for piece in self.pieces if piece.kind == "feature")
        return max(features, key=lambda piece: piece.contribution, default=None)


def written(shares: Sequence[Shares], parts: Parts, *, whole: bool = True) -> Written:
    """The mean of several texts' shares: the ``STRONGEST``, and if ``whole`` all from ``LEAST`` of the logit on."""
    if not shares:
        return Written()
    numbers, places = np.unique(np.concatenate([each.parts for each in shares]), return_inverse=True)

    def mean(column: list[NDArray[np.float32]]) -> NDArray[np.float64]:
        return np.bincount(places, np.concatenate(column), len(numbers)) / len(shares)

    adds, leads = mean([each.shares for each in shares]), mean([each.leads for each in shares])
    sizes = np.maximum(mean([each.sizes for each in shares]), np.finfo(np.float32).tiny)
    notable = np.concatenate([np.abs(each.shares) >= LEAST * abs(each.logit) for each in shares])
    often = np.bincount(places, notable, len(numbers)).astype(np.int64)
    logit = float(np.mean([each.logit for each in shares]))
    order = np.argsort(-leads * (np.abs(leads) / sizes) ** 0.25 * parts.weight(numbers), kind="stable")
    lead = float(np.mean([each.lead for each in shares]))
    enough = np.flatnonzero((np.cumsum(leads[order[:STRONGEST]]) >= SURELY * lead) & (lead > 0))
    kept = np.arange(len(order)) < STRONGEST
    if whole:
        kept |= np.abs(adds[order]) >= LEAST * abs(logit)
    columns = (column[order[kept]].tolist() for column in (numbers, adds, often))
    pieces = tuple(Piece(*parts.read(number), *rest) for number, *rest in zip(*columns, strict=True))
    return Written(pieces, logit, int(enough[0]) + 1 if len(enough) else None)
