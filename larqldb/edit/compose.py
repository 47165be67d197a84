"""Edits of facts: features that make a model answer them, or stop answering one, and rows looked up by key.

Several facts are made together, each told apart from the others. How far features push is found by running the end of
the network; forward passes and linear algebra are all it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.draft import Draft, Fact
from larqldb.edit.trial import Trial
from larqldb.model.edited import AddedFeature, KeyRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.asking import Asking
    from larqldb.edit.context import Model

    Floats = NDArray[np.float32]

ENOUGH = 0.9  # probability of each token of the target on each wording
LITTLE = 0.01  # probability of a target's first token that counts as not answered
KNOWN = 0.5  # of a later token that the model adds by itself
ENDED = 0.5  # probability of what is not part of a name, behind a target
MOST_LIKELY = 256  # tokens among which that is looked for
RESERVE = 1.25  # times the push that is just enough
PUSHES = ((0.35, 0.5, 0.7, 1.0), (1.4, 2.0, 2.8))  # of the residual's length, the rest if the first do not do
TOGETHER = 16  # facts that are read in one go
APART = 1.1  # times the cosine of the nearest sibling are rows looked up from
JOINT = 256  # facts that are told apart from each other


@dataclass(frozen=True)
class Task:
    """A fact to compose and how it is asked for; ``layer``, ``alpha`` and ``ridge`` where they are not to be found.

    It will be one ``among`` so many in effect.
    """

    fact: Fact
    how: Asking
    layer: int | None = None
    alpha: float | None = None
    ridge: float | None = None
    among: int = 1


@dataclass(frozen=True)
class Composed:
    """Features for a fact."""

    features: tuple[AddedFeature, ...]


def compose(model: Model, tasks: Sequence[Task]) -> list[Composed]:
    """Features that let the model answer each fact's wordings with its target.

    What its siblings are asked must keep its answer, and so must the other facts. A task's layer is where features are
    added (None: ``model.layer``), its alpha multiplies the push that was found.
    """
    made: list[Composed] = []
    for drafts in _drafts(model, tasks):
        for draft, others, task in zip(drafts, _others(drafts), tasks[len(made) :], strict=False):
            trial = Trial(draft)
            before = trial.before()
            steps = [step for step in range(len(draft.target)) if step == 0 or before[:, step].min() < KNOWN]
            for step in steps:
                draft.separate(step, others)
            pushes = _search(trial, steps, 1.0, ENOUGH) | _ending(trial)
            made.append(Composed(_features(draft, pushes, task.alpha)))
    return made


def suppress(model: Model, tasks: Sequence[Task]) -> list[Composed]:
    """Features that keep the model from answering facts' wordings with their targets; arguments as for ``compose``.

    They push away from the target's first token, and from nothing else.
    """
    made: list[Composed] = []
    for drafts in _drafts(model, tasks):
        for draft, task in zip(drafts, tasks[len(made) :], strict=False):
            draft.separate(0, ())
            pushes = _search(Trial(draft), [0], -1.0, 1 - LITTLE)
            made.append(Composed(_features(draft, pushes, task.alpha)))
    return made


def knn(model: Model, tasks: Sequence[Task]) -> list[tuple[KeyRow, ...]]:
    """Rows, one for each token of the target, that push to it where a layer sees a fact's wordings; see ``compose``.

    Their keys are the directions that tell them from everything else, so that a cosine decides as the features do.
    """
    made: list[tuple[KeyRow, ...]] = []
    for drafts in _drafts(model, tasks):
        for draft, others, task in zip(drafts, _others(drafts), tasks[len(made) :], strict=False):
            steps = range(len(draft.target))
            for step in steps:
                draft.separate(step, others)
            pushes = _search(Trial(draft), steps, 1.0, ENOUGH)
            scale = 1.0 if task.alpha is None else task.alpha
            made.append(tuple(_row(draft, step, push * scale) for step, push in pushes.items()))
    return made


def _drafts(model: Model, tasks: Sequence[Task]) -> Iterator[list[Draft]]:
    """The tasks' drafts, read, as many at once as are told apart."""
    for start in range(0, len(tasks), JOINT):
        drafts = []
        for first in range(start, min(start + JOINT, len(tasks)), TOGETHER):
            some = [
                Draft(model, task.fact, task.how, _layer(model, task), task.ridge, task.among)
                for task in tasks[first : min(first + TOGETHER, start + JOINT)]
            ]
            for layer in {draft.layer for draft in some}:
                here = [draft for draft in some if draft.layer == layer]
                whole = [ids for draft in here for ids in draft.wordings]
                model.read(layer, whole, [ids for draft in here for ids in draft.ends])
            for draft in some:
                draft.read()
            drafts += some
        yield drafts


def _layer(model: Model, task: Task) -> int:
    return model.layer if task.layer is None else task.layer


def _others(drafts: Sequence[Draft]) -> Iterator[list[Floats]]:
    """For each draft what it is told apart from of the others: their wordings, and where those are answered."""
    keys = [[draft.keys(step) for step in range(len(draft.target))] for draft in drafts]
    for draft in drafts:
        fact = draft.fact
        others = [
            one
            for draft_keys, other in zip(keys, drafts, strict=True)
            for one in draft_keys
            if other.layer == draft.layer and (other.fact.entity, other.fact.relation) != (fact.entity, fact.relation)
        ]
        manners = dict.fromkeys(other.manner for other in drafts if other.layer == draft.layer)
        begun = [one.begun for one in manners if one is not draft.manner]
        yield [np.concatenate(group) for group in (others, begun) if group]


def _search(trial: Trial, steps: Sequence[int], sign: float, enough: float) -> dict[int, float]:
    """The least push for each step, among those tried, with which every wording comes near enough, else the best one.

    That is a probability of at least ``enough``, or with a ``sign`` of -1 of at most 1 - ``enough``. Some reserve is
    added.
    """
    draft = trial.draft
    best = dict.fromkeys(steps, (-1.0, 0.0))
    for shares in PUSHES:
        open_steps = [step for step in steps if best[step][0] < enough]
        if not open_steps:
            break
        held = {step: best[step][1] for step in steps if step not in open_steps}
        tried = [held | {step: sign * share * draft.size(step) for step in open_steps} for share in shares]
        reached = trial.probabilities(tried, open_steps)
        for place, step in enumerate(open_steps):
            counted = draft.is_open(step)  # a wording that is half told apart would ask for twice the push
            for pushes, chances in zip(tried, reached[:, counted], strict=True):
                worst = float(chances[:, place].min() if sign > 0 else 1 - chances[:, place].max())
                if best[step][0] < min(worst, enough):
                    best[step] = worst, pushes[step]
    return {step: push * RESERVE for step, (_, push) in best.items()}


def _ending(trial: Trial) -> dict[int, float]:
    """The push that ends a target which the model would go on with as if it were the beginning of a name."""
    draft, following = trial.draft, trial.logits[:, -1]
    text = draft.model.tokenizer.text
    if not any(_continues(text(int(token))) for token in following.argmax(axis=1)):
        return {}
    likeliest = np.argsort(-following[0], kind="stable")[:MOST_LIKELY]
    end = next((int(token) for token in likeliest if not _continues(text(int(token)))), None)
    if end is None:
        return {}
    step = len(draft.target)
    draft.separate(step, ())
    draft.tokens = (*draft.target, end)
    return _search(trial, [step], 1.0, ENDED)


def _continues(text: str) -> bool:
    """Whether a token goes on with the word or name before it."""
    return text[:1].isalnum() or text[:1] in ("'", "’", "-", "_") or (text[:1] == " " and text[1:2].isupper())


def _features(draft: Draft, pushes: dict[int, float], alpha: float | None) -> tuple[AddedFeature, ...]:
    scale = 1.0 if alpha is None else alpha
    return tuple(feature for step, push in pushes.items() for feature in draft.features(step, push * scale))


def _row(draft: Draft, step: int, push: float) -> KeyRow:
    key = draft.directions[step]
    wanted, nearest = _cosines(key, draft.keys(step)), float(_cosines(key, draft.siblings(step)[0]).max(initial=0))
    least = max(float(wanted.mean()) / 2, min(APART * nearest, float(wanted.min())))
    value = np.asarray(draft.push_direction(draft.target[step]) * np.float32(push), np.float32)
    return KeyRow(draft.layer, key, value, least)


def _cosines(key: Floats, seen: Floats) -> Floats:
    return np.asarray(seen @ key / (np.linalg.norm(key) * np.linalg.norm(seen, axis=1)), np.float32)
