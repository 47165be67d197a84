"""What pushes would do: the end of the network run on a fact's wordings, several pushes at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.forest import ROOT, Forest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.draft import Draft
    from larqldb.edit.reading import Seen

    Floats = NDArray[np.float32]

ROWS = 64  # of residuals that go through the head at once


class Trial:
    """A draft's wordings, read up to where the answer is due; from there every trial goes on."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        model, layer = draft.model, draft.layer
        forest = Forest([ids[:-1] for ids in draft.prompts])
        self._ends = [int(path[-1]) if len(path) else ROOT for path in forest.paths]
        reading = model.tail(layer).begin()
        if len(forest):
            residuals = np.empty((len(forest), model.network.hidden), np.float32)
            for path, seen in zip(forest.paths, draft.seen, strict=True):
                residuals[path] = seen.residual[: len(path)]
            reading = reading.more(forest.parents, residuals)[1]
        self._reading = reading
        self._due: list[Seen] = [
            seen.part(slice(len(ids) - 1, len(ids) + len(draft.target)))
            for ids, seen in zip(draft.prompts, draft.seen, strict=True)
        ]

    def probabilities(self, tried: Sequence[dict[int, float]]) -> Floats:
        """Of each of the draft's tokens after those before it, pushed in several ways: [ways, wordings, steps]."""
        draft = self.draft
        tokens = np.tile(draft.tokens, len(tried) * len(self._due))
        end = self._end(tried, len(draft.tokens))
        return target_probabilities(draft.model.base.head, end, tokens).reshape(len(tried), len(self._due), -1)

    def following(self) -> Floats:
        """Logits of what follows the target, without a push, on each wording: float32 [wordings, vocab]."""
        steps = len(self.draft.target) + 1
        return self.draft.model.base.head(self._end([{}], steps)[steps - 1 :: steps])

    def _end(self, tried: Sequence[dict[int, float]], steps: int) -> Floats:
        """Final residuals where tokens are due, pushed in several ways: [ways · wordings · steps, hidden]."""
        residuals = np.concatenate([part[:steps] for pushes in tried for part in self._pushed(pushes)])
        parents: list[int] = []
        for number in range(len(tried) * len(self._due)):
            first = len(self._reading) + len(parents)
            parents += [self._ends[number % len(self._due)], *range(first, first + steps - 1)]
        end, _ = self._reading.more(parents, residuals)
        return end

    def _pushed(self, pushes: dict[int, float]) -> list[Floats]:
        """What the layer leaves behind where tokens are due and behind the target, on each wording."""
        draft = self.draft
        features = [feature for step, push in pushes.items() for feature in draft.features(step, push)]
        part = draft.model.features(draft.layer, features)
        return [draft.model.added(draft.layer, seen, part).residual for seen in self._due]


def target_probabilities(head: Callable[[Floats], Floats], residuals: Floats, tokens: NDArray[np.int64]) -> Floats:
    """The probability of one token [n] after each of the last layer's residuals [n, hidden]: float32 [n]."""
    found = []
    for start in range(0, len(residuals), ROWS):
        logits = head(residuals[start : start + ROWS])
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        some = tokens[start : start + ROWS]
        found.append(logits[np.arange(len(some)), some] / logits.sum(axis=1))
    return np.concatenate(found)
