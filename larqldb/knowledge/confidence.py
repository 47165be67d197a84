"""How sure an edge is: how often a model gives the same answer on a wording it was never asked.

This is about what the model believes; whether that is true is for the table ``facts`` to say. Each wording of a
relation is left out in turn, and what the others support is held against what it answered: a logistic regression of
that on a target's support. So a file is its own yardstick, whatever the model and the relations in it.

One half is made to mean something: of all edges rated so or higher, ``PRECISE`` came true. That takes a higher chance
than one half, so chances in between are moved down, and up again where they are near one; the rest stays as it is.
Neither how often a relation's wordings agree at all, nor which of them do, nor how sure each was by itself told
more than the three numbers that are used (log-likelihood 0.406, 0.405 and 0.396 per edge, SmolLM2-135M-Instruct,
fourteen relations, each judged by the others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.answers import key
from larqldb.knowledge.support import Support, supports

if TYPE_CHECKING:
    from numpy.typing import NDArray

Answers = Sequence[tuple[str, float]]  # of one entity, one for each wording in a fixed order: answer, probability

BINS = 10
STEPS = 100
# Weights of ``_columns`` and ``half`` where nothing was probed, and how many answers they count as much as: what came
# out for SmolLM2-135M-Instruct and Gemma 3 270M on thirty relations, with all their wordings and with two to four.
PRIOR = (-2.5, 2.65, 4.6, 0.1)
PRIOR_HALF = 0.75
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
    """Edges from all wordings but one, held against that one: columns [n, 4] and whether each came true [n]."""

    columns: NDArray[np.float64]
    came_true: NDArray[np.bool_]


def fit(relations: Mapping[str, Sequence[Answers]]) -> tuple[Confidence, list[Bin]]:
    """Fit a calibration on the answers of relations' entities; with the bins that say how good it is.

    In the bins a relation's edges are judged by a fit on the other relations.
    """
    held = [each for each in map(_hold, relations.values()) if len(each.columns)]
    if not held:
        return Confidence(), []
    came_true = np.concatenate([each.came_true for each in held])
    by_others = [_regression([*held[:place], *held[place + 1 :]]) for place in range(len(held))]
    half = _half(
        np.concatenate([_sigmoid(each.columns @ weights) for each, weights in zip(held, by_others, strict=True)]),
        came_true,
    )
    sure = [Confidence(tuple(weights.tolist()), half) for weights in by_others]
    rated = np.concatenate([each_sure.rate(each.columns) for each_sure, each in zip(sure, held, strict=True)])
    return Confidence(tuple(_regression(held).tolist()), half), _bins(rated, came_true)


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
    """Leave out each wording of each entity in turn."""
    columns, came_true = [], []
    for answers in entities:
        for place in range(len(answers) if len(answers) > 1 else 0):
            right = key(answers[place][0])
            for same, support in supports([*answers[:place], *answers[place + 1 :]]).items():
                columns.append(_columns(support))
                came_true.append(same == right)
    return _Held(np.array(columns).reshape(-1, len(PRIOR)), np.array(came_true, np.bool_))


def _columns(support: Support) -> tuple[float, ...]:
    """What the regression reads: a constant, and three numbers below 1.

    One wording that is not given counts among those asked: two of two that agree say less than six of six (calibration
    error of edges from a single wording 0.05, without that 0.11).
    """
    known = support.wordings / (support.wordings + 1)
    return 1.0, support.agreement * known, support.probability, support.lead * known


def _regression(held: Sequence[_Held]) -> NDArray[np.float64]:
    """Weights of a logistic regression drawn towards PRIOR, by Newton's method: float64 [4]."""
    prior = np.array(PRIOR)
    weights = prior.copy()
    if not held:
        return weights
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
