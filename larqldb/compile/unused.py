"""Which features a layer can spare: those that contribute least to what it writes, measured on text.

A feature's contribution at a token is |act(gate·x) · (up·x)| · ‖down‖.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import CannotCompile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

MOST = 0.01  # of all that a layer's features contribute may be lost with those given up


class LeastUsed:
    """Chooses slots to give up (``state.Victims``); ``texts`` are token ids that the base model reads for it.

    ``shares`` says afterwards what share of a layer's contributions those given up had. Raises CannotCompile where
    the features wanted contribute more than ``MOST``.
    """

    def __init__(self, session: Session, texts: Sequence[Sequence[int]]) -> None:
        self._session, self._texts = session, texts
        self.shares: dict[int, float] = {}

    def __call__(self, layer: int, count: int) -> list[int]:
        """The features of a layer's own that contribute least, least first."""
        contributions = self._contributions(layer)
        removed = self._session.live.removed(layer)
        order = [feature for feature in np.argsort(contributions, kind="stable").tolist() if feature not in removed]
        shares = np.cumsum(contributions[order]) / contributions.sum()
        spare = int(np.searchsorted(shares, MOST, side="right"))
        if count > spare:
            raise CannotCompile(
                what=f"layer {layer} with SLOTS REPLACE",
                why=f"{count} slots are needed, and only {spare} features can be given up: more would take over "
                f"{MOST:.0%} of what its features contribute",
                remedy="Use SLOTS GROW, which makes room instead",
            )
        self.shares[layer] = float(shares[count - 1]) if count else 0.0
        return order[:count]

    def _contributions(self, layer: int) -> NDArray[np.float64]:
        """Of each of a layer's own features, summed over all tokens: float64 [ffn]."""
        session, name = self._session, f"layers.{layer}.activations"
        runner = session.base_runner.changed(lambda _: None, {}, expose=[name])
        total = np.zeros(session.network.ffn)
        for ids in self._texts:
            total += np.abs(runner.observe(ids)[name]).sum(axis=0, dtype=np.float64)
        norms = np.linalg.norm(session.matrix("down", layer).astype(np.float64), axis=1)
        return np.asarray(total * norms)
