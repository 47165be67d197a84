"""How sure an edge is: how often a model gives the same answer on a wording it was never asked.

This is about what the model believes; whether that is true is for the table ``facts`` to say. Each wording of a
relation is left out in turn, with and without its examples, and what the others support is held against what it
answered: a logistic regression of that on a target's support. So a file is its own yardstick, whatever the model and
the relations in it. Supports from one wording and from two are held against it as well as those from all others, so
that relations with few wordings are judged by their like. Each relation has weights of its own, drawn towards those of
all: wordings of one may agree without that meaning much, as where a model says something else without examples. With
them the calibration error of relations asked with and without examples, in a file of others, was 0.025 and 0.039 on
wordings without and with them, instead of 0.042 and 0.044 (SmolLM2-135M-Instruct, ten built-in relations).

One half is made to mean something: of all edges rated so or higher, ``PRECISE`` came true. That takes a higher chance
than one half, so chances in between are moved down, and up again where they are near one; the rest stays as it is.
The least, the median and the spread of a target's probabilities told no more than what is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
# out for SmolLM2-135M-Instruct on ten built-in relations of twenty entities, and Gemma 3 270M on six of them.
PRIOR = (-3.5, 1.2, 4.5, 3.7)
PRIOR_HALF = 0.85
PRIOR_COUNT = 20
OWN_COUNT = 60  # how many answers of a relation the weights of all relations count as much as
PRECISE = (
    0.95  # more than the 0.9 that is promised: new wordings differ more from the old than the old among each other
)
HALVES = np.linspace(0.5, 0.9, 41)  # from which ``half`` is chosen: beyond, too much would be moved down
FEW = 100  # held-out edges below which it is not
DOUBT = 0.4  # chances up to here are confidences as they are


@dataclass(frozen=True)
class Confidence:
    """A calibration: ``weights`` of what speaks for an edge; the chance that is rated one ``half``.

    ``relations`` are the weights of those relations that have their own.
    """

    weights: tuple[float, ...] = PRIOR
    half: float = PRIOR_HALF
    relations: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def of(self, support: Support, relation: str | None = None) -> float:
        """The confidence of an edge, of a relation if that is known."""
        weights = self.weights if relation is None else self.relations.get(relation, self.weights)
        return float(_rate(_sigmoid(np.array(_columns(support)) @ np.array(weights)), self.half))


@dataclass(frozen=True)
class Bin:
    """Edges of like confidence, held against a wording left out: how sure (mean), how often right, how many."""

    confidence: float
    observed: float
    edges: int


@dataclass(frozen=True)
class _Held:
    """Edges from other wordings, held against one left out: columns [n, 4] and whether each came true [n].

    ``whole`` [n] is whether all other wordings support it, ``odd`` [n] whether it is of every second entity.
    """

    columns: NDArray[np.float64]
    came_true: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    odd: NDArray[np.bool_]

    def some(self, chosen: NDArray[np.bool_]) -> _Held:
        """Those of them that are chosen [n]."""
        return _Held(self.columns[chosen], self.came_true[chosen], self.whole[chosen], self.odd[chosen])


def fit(relations: Mapping[str, Sequence[Answers]]) -> tuple[Confidence, list[Bin]]:
    """Fit a calibration on the answers of relations' entities; with the bins that say how good it is.

    In the bins a relation's edges, from all wordings but one, are judged by a fit on the other relations and on the
    other half of its own entities.
    """
    of_all = {relation: _hold(entities) for relation, entities in relations.items()}
    of_all = {relation: each for relation, each in of_all.items() if len(each.columns)}
    held = list(of_all.values())
    if not held:
        return Confidence(), []
    weights = _regression(held, np.array(PRIOR), PRIOR_COUNT)
    chances, came_true, whole = [], [], []
    for place, each in enumerate(held):
        others = _regression([*held[:place], *held[place + 1 :]], np.array(PRIOR), PRIOR_COUNT, weights)
        for judged in (each.odd, ~each.odd):
            own = _regression([each.some(~judged)], others, OWN_COUNT)
            chances.append(_sigmoid(each.columns[judged] @ own))
            came_true.append(each.came_true[judged])
            whole.append(each.whole[judged])
    chance, true, from_all = np.concatenate(chances), np.concatenate(came_true), np.concatenate(whole)
    half = _half(chance, true)
    own_weights = {
        relation: tuple(_regression([each], weights, OWN_COUNT).tolist()) for relation, each in of_all.items()
    }
    bins = _bins(_rate(chance[from_all], half), true[from_all])
    return Confidence(tuple(weights.tolist()), half, own_weights), bins


def _rate(chance: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """The confidences of edges by the chance that they come true."""
    return np.interp(chance, (0, DOUBT, half, (1 + half) / 2, 1), (0, DOUBT, 0.5, (1 + half) / 2, 1))


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
    columns, came_true, whole, odd = [], [], [], []
    for number, answers in enumerate(entities[:: -(-len(entities) // ENTITIES) or 1]):
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
                    odd += [number % 2 == 1] * len(right)
    marks = (np.array(each, np.bool_) for each in (came_true, whole, odd))
    return _Held(np.array(columns).reshape(-1, len(PRIOR)), *marks)


def _columns(support: Support) -> tuple[float, ...]:
    """What the regression reads: a constant, and three numbers of at most 1.

    One wording that is not given counts among those asked: two of two that agree say less than six of six. Without
    that, edges from few wordings are rated too high.
    """
    known = support.wordings / (support.wordings + 1)
    return 1.0, support.agreement * known, support.probability, support.share * known


def _regression(
    held: Sequence[_Held], prior: NDArray[np.float64], count: float, start: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Weights of a logistic regression drawn towards ``prior`` as by so many answers, float64 [4]: Newton's method."""
    if not held:
        return prior
    weights = prior if start is None else start
    x = np.concatenate([each.columns for each in held])
    y = np.concatenate([each.came_true for each in held])
    for _ in range(STEPS):
        p = _sigmoid(x @ weights)
        slope = x.T @ (p - y) + count * (weights - prior) / len(prior)
        curve = (x * (p * (1 - p))[:, None]).T @ x + count / len(prior) * np.eye(len(prior))
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
