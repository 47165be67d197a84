"""How sure an edge is: how often a model gives the same answer on a wording it was never asked.

This is about what the model believes; whether that is true is for the table ``facts`` to say. Each wording of a
relation is left out in turn, with and without its examples, and what the others support is held against what it
answered: a logistic regression of that on a target's support. So a file is its own yardstick, whatever the model and
the relations in it. Supports from one wording and from two are held against it as well as those from all others, so
that relations with few wordings are judged by their like.

One half is made to mean something: of all edges rated so or higher, ``PRECISE`` came true. That takes a higher chance
than one half, so chances in between are moved down, and up again where they are near one; the rest stays as it is.
A regression of its own for each relation, drawn towards that of all, told no more (log-likelihood 0.2345 per edge, and
0.2349 without, SmolLM2-135M-Instruct, ten built-in relations, each judged by the others), nor did the least, the median
or the spread of a target's probabilities; the share that ``Support`` has did (0.230).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.answers import key
from larqldb.knowledge.support import Given, Support, supports
from larqldb.knowledge.wordings import question

if TYPE_CHECKING:
    from numpy.typing import NDArray

Answers = Mapping[str, Given]  # of one entity, by wording

BINS = 10
STEPS = 100
ENTITIES = 100  # of a relation that are enough to fit on
SMALL = (1, 2)  # how many of the other wordings support a target, besides all of them
# Weights of ``_columns`` and ``half`` where nothing was probed, and how many answers they count as much as: what came
# out for SmolLM2-135M-Instruct and Gemma 3 270M on ten built-in relations of twenty entities.
PRIOR = (-3.5, 1.2, 4.5, 3.7)
PRIOR_HALF = 0.8
PRIOR_COUNT = 20
PRECISE = (
    0.93  # more than the 0.9 that is promised: new wordings differ more from the old than the old among each other
)
HALVES = np.linspace(0.5, 0.8, 31)  # from which ``half`` is chosen: beyond, too much would be moved down
FEW = 100  # held-out edges below which it is not
DOUBT = 0.4  # chances up to here are confidences as they are


@dataclass(frozen=True)
class Confidence:
    """A calibration: ``weights`` of what speaks for an edge; the chance that is rated one ``half``."""

    weights: tuple[float, ...] = PRIOR
    half: float = PRIOR_HALF

    def of(self, support: Support) -> float:
        """The confidence of an edge."""
        return float(self.rate(np.array([_columns(support)]))[0])

    def rate(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The confidences of edges [n] by what speaks for them [n, 4]."""
        chance = _sigmoid(columns @ np.array(self.weights))
        return np.interp(chance, (0, DOUBT, self.half, (1 + self.half) / 2, 1), (0, DOUBT, 0.5, (1 + self.half) / 2, 1))


@dataclass(frozen=True)
class Bin:
    """Edges of like confidence, held against a wording left out: how sure (mean), how often right, how many."""

    confidence: float
    observed: float
    edges: int


@dataclass(frozen=True)
class _Held:
    """Edges from other wordings, held against one left out: columns [n, 4] and whether each came true [n].

    ``whole`` [n] is whether all other wordings support it.
    """

    columns: NDArray[np.float64]
    came_true: NDArray[np.bool_]
    whole: NDArray[np.bool_]


def fit(relations: Mapping[str, Sequence[Answers]]) -> tuple[Confidence, list[Bin]]:
    """Fit a calibration on the answers of relations' entities; with the bins that say how good it is.

    In the bins a relation's edges, from all wordings but one, are judged by a fit on the other relations.
    """
    held = [each for each in map(_hold, relations.values()) if len(each.columns)]
    if not held:
        return Confidence(), []
    came_true, whole = (
        np.concatenate(each) for each in zip(*((one.came_true, one.whole) for one in held), strict=True)
    )
    weights = _regression(held, np.array(PRIOR))
    by_others = [_regression([*held[:place], *held[place + 1 :]], weights) for place in range(len(held))]
    half = _half(
        np.concatenate([_sigmoid(each.columns @ others) for each, others in zip(held, by_others, strict=True)]),
        came_true,
    )
    sure = [Confidence(tuple(others.tolist()), half) for others in by_others]
    rated = np.concatenate([each_sure.rate(each.columns) for each_sure, each in zip(sure, held, strict=True)])
    return Confidence(tuple(weights.tolist()), half), _bins(rated[whole], came_true[whole])


def _half(chance: NDArray[np.float64], came_true: NDArray[np.bool_]) -> float:
    """The least chance from which on edges came true as often as ``PRECISE``."""
    if len(chance) < FEW:
        return PRIOR_HALF
    precise = (
        least for least in HALVES.tolist() if came_true[chance >= least].sum() >= PRECISE * (chance >= least).sum()
    )
    return next(precise, float(HALVES[-1]))


def _bins(confidence: NDArray[np.float64], came_true: NDArray[np.bool_]) -> list[Bin]:
    """How often edges came true by how sure they were."""
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    groups = ((confidence[place == i], came_true[place == i]) for i in range(BINS))
    return [Bin(float(each.mean()), float(true.mean()), len(each)) for each, true in groups if len(each)]


def _hold(entities: Sequence[Answers]) -> _Held:
    """Leave out each question of each entity in turn, in whatever form it was asked."""
    columns, came_true, whole = [], [], []
    for answers in entities[:: -(-len(entities) // ENTITIES) or 1]:
        asked: dict[str, list[Given]] = {}
        for wording, given in answers.items():
            asked.setdefault(question(wording), []).append(given)
        forms = list(asked.values())
        for place, left in enumerate(forms):
            others = [*forms[place + 1 :], *forms[:place]]
            right = [key(given[0][0]) for given in left]
            for count in {*SMALL, len(others)} & {*range(1, len(forms))}:
                for same, support in supports([given for form in others[:count] for given in form]).items():
                    columns += [_columns(support)] * len(right)
                    came_true += [same == each for each in right]
                    whole += [count == len(others)] * len(right)
    shape = -1, len(PRIOR)
    return _Held(np.array(columns).reshape(shape), np.array(came_true, np.bool_), np.array(whole, np.bool_))


def _columns(support: Support) -> tuple[float, ...]:
    """What the regression reads: a constant, and three numbers of at most 1.

    One wording that is not given counts among those asked: two of two that agree say less than six of six. Of edges
    from a single wording that are rated one half or more, 89 and 95 % come true on another (SmolLM2, Gemma 3).
    """
    known = support.wordings / (support.wordings + 1)
    return 1.0, support.agreement * known, support.probability, support.share * known


def _regression(held: Sequence[_Held], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of a logistic regression drawn towards PRIOR, by Newton's method from ``start`` on: float64 [4]."""
    prior = np.array(PRIOR)
    if not held:
        return prior
    weights = start
    x = np.concatenate([each.columns for each in held])
    y = np.concatenate([each.came_true for each in held])
    for _ in range(STEPS):
        p = _sigmoid(x @ weights)
        slope = x.T @ (p - y) + PRIOR_COUNT * (weights - prior) / len(prior)
        curve = (x * (p * (1 - p))[:, None]).T @ x + PRIOR_COUNT / len(prior) * np.eye(len(prior))
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
