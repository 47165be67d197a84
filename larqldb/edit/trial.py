"""What pushes would do: the end of the network run on facts' wordings, several pushes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.forest import ROOT, Forest
from larqldb.edit.measuring import chances

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.draft import Draft
    from larqldb.edit.reading import Seen

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """Pushes for some steps of a draft, by its ``number`` in a trial, and the ``steps`` that are looked at."""

    number: int
    pushes: dict[int, float]
    steps: Sequence[int]


class Trial:
    """Drafts of a layer, their wordings read up to where the answer is due; from there every trial goes on.

    Without a push, by draft: ``before`` [wordings, steps], each target token's probability after those before it, and
    ``following`` [wordings, vocab], logits behind the target.
    """

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts
        self._model = model = drafts[0].model
        forest = Forest([(*ids, *draft.target) for draft in drafts for ids in draft.prompts])
        residuals = np.empty((len(forest), model.network.hidden), np.float32)
        paths = iter(forest.paths)
        self._places = [[next(paths) for _ in draft.prompts] for draft in drafts]
        for draft, places in zip(drafts, self._places, strict=True):
            for path, seen in zip(places, draft.seen, strict=True):
                residuals[path] = seen.residual[: len(path)]
        end, self._reading = model.tail(drafts[0].layer).begin().more(forest.parents, residuals)
        due, tokens = [], []
        for draft, places in zip(drafts, self._places, strict=True):
            due.append(np.stack([end[path[-len(draft.target) - 1 :]] for path in places]))
            tokens.append(np.tile(draft.target, len(places)))
        asked = [some[:, :-1].reshape(-1, end.shape[1]) for some in due]
        before, _ = chances(model.base.head, np.concatenate(asked), np.concatenate(tokens))
        parts = np.split(before, np.cumsum([len(some) for some in asked])[:-1])
        self.before = [part.reshape(some.shape[0], -1) for part, some in zip(parts, due, strict=True)]
        logits = model.base.head(np.concatenate([some[:, -1] for some in due]))
        self.following = np.split(logits, np.cumsum([len(some) for some in due])[:-1])

    def probabilities(self, ways: Sequence[Way]) -> list[Floats]:
        """Of the tokens at each way's steps after those before them: [wordings, steps] for each."""
        residuals: list[Floats] = []
        parents: list[int] = []
        looked: list[int] = []
        tokens: list[int] = []
        for way in ways:
            draft, steps = self.drafts[way.number], max(way.steps) + 1
            for path, seen in zip(self._places[way.number], self._pushed(way), strict=True):
                first = len(self._reading) + len(parents)
                start = len(path) - len(draft.target) - 2
                looked += [len(parents) + step for step in way.steps]
                tokens += [draft.tokens[step] for step in way.steps]
                parents += [int(path[start]) if start >= 0 else ROOT, *range(first, first + steps - 1)]
                residuals.append(seen.residual[:steps])
        end, _ = self._reading.more(parents, np.concatenate(residuals))
        found, _ = chances(self._model.base.head, end[looked], tokens)
        shapes = [(len(self._places[way.number]), len(way.steps)) for way in ways]
        parts = np.split(found, np.cumsum([wordings * steps for wordings, steps in shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _pushed(self, way: Way) -> list[Seen]:
        """What the layer leaves behind where tokens are due and behind the target, on each wording."""
        draft = self.drafts[way.number]
        features = [feature for step, push in way.pushes.items() for feature in draft.features(step, push)]
        part = self._model.features(draft.layer, features)
        ends = [len(ids) - 1 for ids in draft.prompts]
        due = [seen.part(slice(end, end + len(draft.target) + 1)) for seen, end in zip(draft.seen, ends, strict=True)]
        return [self._model.added(draft.layer, seen, part) for seen in due]
