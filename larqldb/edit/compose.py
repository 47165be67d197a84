"""Edits of facts: features that make a model answer them, or stop answering one, and rows looked up by key.

Several facts are made together, each told apart from the others. How far features push is found by running the end of
the network; forward passes and linear algebra are all it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.draft import Draft, Fact
from larqldb.edit.trial import Trial, Way
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
PUSHES = ((0.35, 0.5, 0.7, 1.0), (1.4, 2.0, 2.8, 4.0))  # of the residual's length, the rest if the first do not do
TOGETHER = 16  # facts that are read in one go
TRIED = 8  # facts whose pushes are tried in one go
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


def compose(model: Model, tasks: Sequence[Task]) -> list[tuple[AddedFeature, ...]]:
    """Features that let the model answer each fact's wordings with its target.

    What its siblings are asked must keep its answer, and so must the other facts. A task's layer is where features are
    added (None: ``model.layer``), its alpha multiplies the push that was found.
    """
    made: list[tuple[AddedFeature, ...]] = []
    for drafts in _drafts(model, tasks):
        others = _others(drafts)
        for trial in _trials(drafts):
            steps = {}
            for number, (draft, beside) in enumerate(zip(trial.drafts, others, strict=False)):
                least = trial.before[number].min(axis=0)
                steps[number] = [step for step in range(len(draft.target)) if step == 0 or least[step] < KNOWN]
                for step in steps[number]:
                    draft.separate(step, beside)
            pushes, ends = _search(trial, steps, 1.0, ENOUGH), _endings(trial)
            for number, draft in enumerate(trial.drafts):
                found = pushes[number] | ends.get(number, {})
                made.append(_features(draft, found, tasks[len(made)].alpha))
    return made


def suppress(model: Model, tasks: Sequence[Task]) -> list[tuple[AddedFeature, ...]]:
    """Features that keep the model from answering facts' wordings with their targets; arguments as for ``compose``.

    They push away from the target's first token, and from nothing else.
    """
    made: list[tuple[AddedFeature, ...]] = []
    for drafts in _drafts(model, tasks):
        for trial in _trials(drafts):
            for draft in trial.drafts:
                draft.separate(0, ())
            pushes = _search(trial, {number: [0] for number in range(len(trial.drafts))}, -1.0, 1 - LITTLE)
            for number, draft in enumerate(trial.drafts):
                made.append(_features(draft, pushes[number], tasks[len(made)].alpha))
    return made


def knn(model: Model, tasks: Sequence[Task]) -> list[tuple[KeyRow, ...]]:
    """Rows, one for each token of the target, that push to it where a layer sees a fact's wordings; see ``compose``.

    Their keys are the directions that tell them from everything else, so that a cosine decides as the features do.
    """
    made: list[tuple[KeyRow, ...]] = []
    for drafts in _drafts(model, tasks):
        others = _others(drafts)
        for trial in _trials(drafts):
            steps = {number: range(len(draft.target)) for number, draft in enumerate(trial.drafts)}
            for number, (draft, beside) in enumerate(zip(trial.drafts, others, strict=False)):
                for step in steps[number]:
                    draft.separate(step, beside)
            pushes = _search(trial, steps, 1.0, ENOUGH)
            for number, draft in enumerate(trial.drafts):
                alpha = tasks[len(made)].alpha
                scale = 1.0 if alpha is None else alpha
                made.append(tuple(_row(draft, step, push * scale) for step, push in pushes[number].items()))
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


def _trials(drafts: Sequence[Draft]) -> Iterator[Trial]:
    """Trials of the drafts in order, as many in one as are tried together."""
    for _, same in groupby(drafts, lambda draft: draft.layer):
        here = list(same)
        for start in range(0, len(here), TRIED):
            yield Trial(here[start : start + TRIED])


def _search(
    trial: Trial, steps: Mapping[int, Sequence[int]], sign: float, enough: float
) -> dict[int, dict[int, float]]:
    """The least push for each step, among those tried, with which every wording comes near enough, else the best one.

    That is a probability of at least ``enough``, or with a ``sign`` of -1 of at most 1 - ``enough``. Some reserve is
    added. ``steps`` and what is found are by draft.
    """
    best = {number: dict.fromkeys(some, (-1.0, 0.0)) for number, some in steps.items()}
    for shares in PUSHES:
        ways = []
        for number, found in best.items():
            asked = [step for step, (worst, _) in found.items() if worst < enough]
            held = {step: push for step, (_, push) in found.items() if step not in asked}
            size = {step: sign * trial.drafts[number].size(step) for step in asked}
            ways += [
                Way(number, held | {step: share * size[step] for step in asked}, asked) for share in shares if asked
            ]
        if not ways:
            break
        for way, chances in zip(ways, trial.probabilities(ways), strict=True):
            for step, column in zip(way.steps, chances.T, strict=True):
                # a wording that is half told apart would ask for twice the push
                counted = column[trial.drafts[way.number].is_open(step)]
                worst = float(counted.min() if sign > 0 else 1 - counted.max())
                if best[way.number][step][0] < min(worst, enough):
                    best[way.number][step] = worst, way.pushes[step]
    return {number: {step: push * RESERVE for step, (_, push) in found.items()} for number, found in best.items()}


def _endings(trial: Trial) -> dict[int, dict[int, float]]:
    """The pushes that end targets which the model would go on with as if they were beginnings of names, by draft."""
    steps = {}
    text = trial.drafts[0].model.tokenizer.text
    for number, (draft, following) in enumerate(zip(trial.drafts, trial.following, strict=True)):
        if not any(_continues(text(int(token))) for token in following.argmax(axis=1)):
            continue
        likeliest = np.argsort(-following[0], kind="stable")[:MOST_LIKELY]
        end = next((int(token) for token in likeliest if not _continues(text(int(token)))), None)
        if end is None:
            continue
        step = len(draft.target)
        draft.separate(step, ())
        draft.tokens = (*draft.target, end)
        steps[number] = [step]
    return _search(trial, steps, 1.0, ENDED)


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
