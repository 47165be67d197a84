"""What pushes would do: the end of the network run on a fact's wordings, several pushes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.forest import ROOT, Forest
from larqldb.edit.measuring import chances, probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.draft import Draft
    from larqldb.edit.reading import Seen

    Floats = NDArray[np.float32]


class Trial:
    """A draft's wordings, read up to where the answer is due; from there every trial goes on.

    ``logits`` [wordings, steps + 1, vocab]: without a push, where each token of the target is due and behind it.
    """

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        model, layer, steps = draft.model, draft.layer, len(draft.target) + 1
        forest = Forest([(*ids, *draft.target) for ids in draft.prompts])
        residuals = np.empty((len(forest), model.network.hidden), np.float32)
        for path, seen in zip(forest.paths, draft.seen, strict=True):
            residuals[path] = seen.residual[: len(path)]
        end, self._reading = model.tail(layer).begin().more(forest.parents, residuals)
        self._starts = [int(path[-steps - 1]) if len(path) > steps else ROOT for path in forest.paths]
        self._due: list[Seen] = [
            seen.part(slice(len(path) - steps, len(path))) for path, seen in zip(forest.paths, draft.seen, strict=True)
        ]
        due = end[np.stack([path[-steps:] for path in forest.paths])]
        self.logits: Floats = model.base.head(due.reshape(-1, due.shape[-1])).reshape(*due.shape[:2], -1)

    def before(self) -> Floats:
        """Without a push: each target token's probability after those before it, [wordings, steps]."""
        due = self.logits[:, :-1]
        tokens = np.tile(self.draft.target, len(due))
        return probabilities(due.reshape(-1, due.shape[-1]), tokens).reshape(due.shape[:2])

    def probabilities(self, tried: Sequence[dict[int, float]], steps: Sequence[int]) -> Floats:
        """Of tokens at some steps after those before them, pushed in several ways: [ways, wordings, steps]."""
        draft = self.draft
        end = self._end(tried, max(steps) + 1)[:, :, list(steps)]
        tokens = np.tile([draft.tokens[step] for step in steps], end.shape[0] * end.shape[1])
        probability, _ = chances(draft.model.base.head, end.reshape(-1, end.shape[-1]), tokens)
        return probability.reshape(end.shape[:-1])

    def _end(self, tried: Sequence[dict[int, float]], steps: int) -> Floats:
        """Final residuals where tokens are due, pushed in several ways: [ways, wordings, steps, hidden]."""
        residuals = np.concatenate([part[:steps] for pushes in tried for part in self._pushed(pushes)])
        parents: list[int] = []
        for number in range(len(tried) * len(self._due)):
            first = len(self._reading) + len(parents)
            parents += [self._starts[number % len(self._due)], *range(first, first + steps - 1)]
        end, _ = self._reading.more(parents, residuals)
        return end.reshape(len(tried), len(self._due), steps, -1)

    def _pushed(self, pushes: dict[int, float]) -> list[Floats]:
        """What the layer leaves behind where tokens are due and behind the target, on each wording."""
        draft = self.draft
        features = [feature for step, push in pushes.items() for feature in draft.features(step, push)]
        part = draft.model.features(draft.layer, features)
        return [draft.model.added(draft.layer, seen, part).residual for seen in self._due]
