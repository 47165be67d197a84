"""Edits of facts: features that make a model answer one, or stop answering one, and rows looked up by key.

How far features push is found by running the end of the network on all wordings; forward passes and linear algebra
are all it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.draft import Draft, Fact
from larqldb.model.edited import AddedFeature, KeyRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.context import Model

    Floats = NDArray[np.float32]

ENOUGH = 0.9  # probability of each token of the target on each wording
LITTLE = 0.01  # probability of a target's first token that counts as not answered
KNOWN = 0.5  # of a later token that the model adds by itself
RESERVE = 1.25  # times the push that is just enough
PUSHES = 0.25 * 2.0 ** np.arange(0, 4, 0.5)  # of the residual's length: those that are tried


@dataclass(frozen=True)
class Composed:
    """Features for a fact, and the probability of its whole target on the first wording without and with them."""

    features: tuple[AddedFeature, ...]
    probability_before: float
    probability_after: float


def compose(
    model: Model,
    fact: Fact,
    *,
    wordings: Sequence[str],
    siblings: Sequence[str],
    layer: int | None = None,
    alpha: float | None = None,
) -> Composed:
    """Features that let the model answer a fact's ``wordings`` (whole prompts) with its target.

    ``siblings`` are prompts whose answers must stay: the same relation of other entities, in these wordings. ``layer``
    is where the features are added (None: ``model.layer``), ``alpha`` multiplies the push that was found.
    """
    draft = Draft(model, fact, wordings, siblings, model.layer if layer is None else layer)
    before = draft.probabilities({})
    steps = [step for step in range(len(draft.target)) if step == 0 or before[:, step].min() < KNOWN]
    pushes = _search(draft, steps, 1.0, lambda reached: float(reached.min()), ENOUGH)
    return _composed(draft, pushes, before, alpha)


def suppress(
    model: Model,
    fact: Fact,
    *,
    wordings: Sequence[str],
    siblings: Sequence[str],
    layer: int | None = None,
    alpha: float | None = None,
) -> Composed:
    """Features that keep the model from answering a fact's ``wordings`` with its target; arguments as for ``compose``.

    They push away from the target's first token, and from nothing else.
    """
    draft = Draft(model, fact, wordings, siblings, model.layer if layer is None else layer)
    before = draft.probabilities({})
    pushes = _search(draft, [0], -1.0, lambda reached: float(1 - reached.max()), 1 - LITTLE)
    return _composed(draft, pushes, before, alpha)


def knn(
    model: Model,
    fact: Fact,
    *,
    wordings: Sequence[str],
    siblings: Sequence[str],
    layer: int | None = None,
    alpha: float | None = None,
) -> KeyRow:
    """A row that pushes to the target's first token where a layer sees a fact's wordings; arguments as ``compose``'s.

    Its key is the direction that tells them from everything else, so that a cosine decides as the features do.
    """
    layer = model.layer if layer is None else layer
    draft = Draft(model, fact, wordings, siblings, layer)
    push = _search(draft, [0], 1.0, lambda reached: float(reached.min()), ENOUGH)[0] * (1 if alpha is None else alpha)
    key, seen = draft.direction(0), draft.keys(0)
    cosines = seen @ key / (np.linalg.norm(key) * np.linalg.norm(seen, axis=1))
    value = np.asarray(draft.push_direction(0) * np.float32(push), np.float32)
    return KeyRow(layer, key, value, float(cosines.mean() / 2))


def _composed(draft: Draft, pushes: dict[int, float], before: Floats, alpha: float | None) -> Composed:
    if alpha is not None:
        pushes = {step: push * alpha for step, push in pushes.items()}
    after = draft.probabilities(pushes)
    features = tuple(feature for step, push in pushes.items() for feature in draft.features(step, push))
    return Composed(features, float(before[0].prod()), float(after[0].prod()))


def _search(
    draft: Draft, steps: Sequence[int], sign: float, score: Callable[[Floats], float], enough: float
) -> dict[int, float]:
    """The least push for each step, among those tried, whose score on the wordings is ``enough``, else the best one.

    ``score`` is asked with the probabilities of the step's token [wordings]. Some reserve is added.
    """
    best = dict.fromkeys(steps, (-1.0, 0.0))
    for share in PUSHES:
        tried = {step: sign * float(share) * draft.size(step) for step in steps if best[step][0] < enough}
        if not tried:
            break
        held = {step: best[step][1] for step in steps if step not in tried}
        reached = draft.probabilities(tried | held)
        for step, push in tried.items():
            best[step] = max(best[step], (score(reached[:, step]), push), key=lambda pair: pair[0])
    return {step: push * RESERVE for step, (_, push) in best.items()}
