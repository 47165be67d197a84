"""The walk behind one connection: its model shared by the process, its rows pulled by SQL through a cache."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np

from larqldb.errors import InterfaceError, NotSupportedError
from larqldb.storage import walk_budgets
from larqldb.storage.database import fetch
from larqldb.storage.rows import RowCache, pieces
from larqldb.storage.walk_budgets import Budgets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.functions.session import Session
    from larqldb.model.walk import Choice, Walker, WalkModel

MASS = 0.92  # of the contributions, where nothing was measured: KL 0.03 on SmolLM2, 0.02 on Gemma 3

Walked = tuple[int, float, int]
"""Rows pulled, their share of all rows, and the bytes that came from the file."""

_models: WeakValueDictionary[str, WalkModel] = WeakValueDictionary()  # by fingerprint, for the whole process
_loading = Lock()


def check(walk: object) -> int | float | None:
    """What ``connect(walk=…)`` may be: rows per layer, a share of the contributions, True, or None; InterfaceError."""
    if walk is None or walk is True:
        return walk
    if isinstance(walk, int) and not isinstance(walk, bool) and walk >= 1:
        return walk
    if isinstance(walk, float) and 0 < walk <= 1:
        return walk
    raise InterfaceError(
        f"walk must be a whole number from 1 (rows per layer), a fraction up to 1.0 (share of the contributions), or "
        f"True (as the file says), not {walk!r}"
    )


class Walking:
    """How a connection walks. ``asked`` is what it was opened with: rows per layer, or a mass; True and None leave it.

    Then the budgets in the file say, or where it holds none, a mass of 0.92.
    """

    def __init__(self, session: Session, asked: int | float | None) -> None:
        self._session, self.asked = session, asked

    @property
    def mode(self) -> str:
        """What INFER does without a mode: walk where the connection was opened to, else dense."""
        return "dense" if self.asked is None else "walk"

    @property
    def choice(self) -> Choice:
        """Which features are pulled."""
        from larqldb.model.walk import Choice

        layers = self._session.network.layers
        number = self.asked
        if number is None or number is True:
            found = walk_budgets.read(self._session.db)
            if found is not None and len(found.numbers) == layers:
                return Choice(found.rule, found.numbers, self._session.network.post_norms)
            number = MASS
        return Choice("top" if isinstance(number, int) else "mass", (number,) * layers)

    @cached_property
    def rows(self) -> RowCache:
        """The down vectors pulled so far, as many as ``cache_mb`` allows."""
        session = self._session
        return RowCache(session.db, session.store, session.layers, session.cache_bytes)

    @cached_property
    def model(self) -> WalkModel:
        """What of the network stays in memory; MissingPart where the vindex does not hold it all."""
        from larqldb.model.walk import WalkModel

        session = self._session
        session.require("inference", "The walk", "attention weights and feature vectors of all layers")
        key = str(session.model["fingerprint"])
        with _loading:
            model = _models.get(key)
            if model is None:
                head = pieces(session.db, session.store, "embed" if session.network.tied else "head")
                model = _models[key] = WalkModel(session.network, session.store.weights, head, self._down_norms())
        return model

    def walker(self) -> Walker:
        """A text of its own to walk through, from the start.

        Raises MissingPart as ``model``, and NotSupportedError while the connection changes what the network computes,
        which the walk would not follow.
        """
        from larqldb.model.edited import Overlay
        from larqldb.model.walk import Walker

        session, model = self._session, self.model
        if session.interventions:
            raise NotSupportedError(
                "the walk does not follow ablate, steer and patch, which change the whole network. Use mode dense"
            )
        overlay = Overlay(session.network, session.live.layers, session.entering)
        return Walker(model, session.embedding, self.rows, self.choice, overlay)

    def logits(self, ids: Sequence[int]) -> tuple[NDArray[np.float32], Walked]:
        """Logits of the token after ``ids``, float32 [vocab], and what it took."""
        walker, before = self.walker(), self.rows.bytes_read
        logits = walker.read(ids)
        return logits, (walker.pulled, walker.pulled / walker.possible, self.rows.bytes_read - before)

    def measure(self, texts: Sequence[str], about: str, *, kl: float = 0.05) -> Budgets:
        """Find the fewest rows that come within ``kl`` of the whole network on texts, and store them as the default.

        ``about`` says what the texts are. Needs the whole network in memory, and runs it once and the walk some
        (layers + 8) times on the texts. Raises MissingPart as ``model``, BadPrompt for a text that is empty or too
        long, InterfaceError for a ``kl`` that is not positive.
        """
        from larqldb.functions.runs import prompt_ids
        from larqldb.model import budgets
        from larqldb.model.walk import Walker

        if not kl > 0 or not texts:
            raise InterfaceError("budgets need at least one text and a KL divergence above 0")
        session, model = self._session, self.model
        read = [prompt_ids(session, "Measuring the walk", text) for text in texts]
        true = [session.base_runner.all_logits(ids) for ids in read]
        choice, found = budgets.find(
            lambda choice: Walker(model, session.embedding, self.rows, choice),
            session.network.layers,
            session.network.post_norms,
            read,
            true,
            kl,
        )
        tokens = sum(map(len, read))
        made = Budgets(choice.rule, choice.numbers, about, tokens, found.kl, found.agreement, found.share)
        walk_budgets.write(session.db, made)
        return made

    def _down_norms(self) -> NDArray[np.float32]:
        """‖d_f‖ of every feature: float32 [layers, ffn]."""
        norms = fetch(self._session.db, "SELECT down_norm FROM features ORDER BY layer, feature")
        network = self._session.network
        return np.array(norms, np.float32).reshape(network.layers, network.ffn)
