"""What pushes would do: the end of the network run on a fact's wordings, several pushes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.forest import ROOT, Forest
from larqldb.edit.measuring import chances

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.draft import Draft
    from larqldb.edit.reading import Seen

    Floats = NDArray[np.float32]


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

    def before(self) -> tuple[Floats, Floats]:
        """Without a push: each target token's probability [wordings, steps] and the logits behind it [wordings, vocab].

        Each stands after those before it.
        """
        target, head = self.draft.target, self.draft.model.base.head
        end = self._end([{}], len(target) + 1)[0]
        probability, _ = chances(head, end[:, :-1].reshape(-1, end.shape[-1]), np.tile(target, len(end)))
        return probability.reshape(len(end), -1), head(end[:, -1])

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
            parents += [self._ends[number % len(self._due)], *range(first, first + steps - 1)]
        end, _ = self._reading.more(parents, residuals)
        return end.reshape(len(tried), len(self._due), steps, -1)

    def _pushed(self, pushes: dict[int, float]) -> list[Floats]:
        """What the layer leaves behind where tokens are due and behind the target, on each wording."""
        draft = self.draft
        features = [feature for step, push in pushes.items() for feature in draft.features(step, push)]
        part = draft.model.features(draft.layer, features)
        return [draft.model.added(draft.layer, seen, part).residual for seen in self._due]
