"""How sure an edge is: how often a model gives the same answer on a wording it was never asked.

This is about what the model believes; whether that is true is for the table ``facts`` to say. Each wording of a
relation is left out in turn, and what the others support is held against what it answered: a logistic regression of
that on a target's support, and on how often the relation's wordings agree at all. So a file is its own yardstick,
whatever the model and the relations in it.
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
# Weights of ``_columns`` where nothing was probed, and how many left-out answers they count as much as: what came out
# for SmolLM2-135M-Instruct and Gemma 3 270M on the built-in relations.
PRIOR = (-4.0, 2.0, 2.0, 1.0, 4.0)
PRIOR_COUNT = 20
UNKNOWN = 0.5  # how consistent a relation is whose wordings cannot be held against each other


@dataclass(frozen=True)
class Confidence:
    """A calibration: ``weights`` of what speaks for an edge, and of each relation how often its wordings agree."""

    weights: tuple[float, ...] = PRIOR
    consistency: Mapping[str, float] | None = None

    def of(self, relation: str, support: Support) -> float:
        """The confidence of an edge."""
        share = (self.consistency or {}).get(relation, UNKNOWN)
        return float(_sigmoid(np.array([_columns(support, share)]) @ np.array(self.weights))[0])


@dataclass(frozen=True)
class Bin:
    """Edges of like confidence, held against a wording left out: how sure (mean), how often right, how many."""

    confidence: float
    observed: float
    edges: int


@dataclass(frozen=True)
class _Held:
    """Edges from all wordings but one, held against that one: columns [n, 5] and whether each came true [n]."""

    columns: NDArray[np.float64]
    came_true: NDArray[np.bool_]


def fit(relations: Mapping[str, Sequence[Answers]]) -> tuple[Confidence, list[Bin]]:
    """Fit a calibration on the answers of relations' entities; with the bins that say how good it is.

    In the bins a relation's edges are judged by a fit on the other relations.
    """
    held = {name: _hold(entities) for name, entities in relations.items()}
    held = {name: each for name, each in held.items() if len(each.columns)}
    consistency = {name: _consistency(_agreement(entities)) for name, entities in relations.items()}
    weights = _regression(list(held.values()))
    return Confidence(tuple(weights.tolist()), consistency), _bins(held)


def _bins(held: Mapping[str, _Held]) -> list[Bin]:
    """How often edges came true by how sure they were."""
    if not held:
        return []
    sure = []
    for name, each in held.items():
        others = [other for other_name, other in held.items() if other_name != name]
        sure.append(_sigmoid(each.columns @ _regression(others)))
    confidence, came_true = np.concatenate(sure), np.concatenate([each.came_true for each in held.values()])
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    groups = ((confidence[place == i], came_true[place == i]) for i in range(BINS))
    return [Bin(float(each.mean()), float(true.mean()), len(each)) for each, true in groups if len(each)]


def _hold(entities: Sequence[Answers]) -> _Held:
    """Leave out each wording of each entity in turn."""
    agreement = _agreement(entities)
    columns, came_true = [], []
    for answers in entities:
        for place in range(len(answers) if len(answers) > 1 else 0):
            share = _consistency(np.delete(np.delete(agreement, place, 0), place, 1))
            right = key(answers[place][0])
            for same, support in supports([*answers[:place], *answers[place + 1 :]]).items():
                columns.append(_columns(support, share))
                came_true.append(same == right)
    return _Held(np.array(columns).reshape(-1, len(PRIOR)), np.array(came_true, np.bool_))


def _agreement(entities: Sequence[Answers]) -> NDArray[np.float64]:
    """How often two wordings give the same answer, [wordings, wordings]; one that is not read agrees with none."""
    keys = np.array([[key(text) for text, _ in answers] for answers in entities])  # [entities, wordings]
    if keys.ndim < 2:
        return np.zeros((0, 0))
    same = (keys[:, :, None] == keys[:, None, :]) & (keys != "")[:, :, None]
    return np.asarray(same.mean(axis=0))


def _consistency(agreement: NDArray[np.float64]) -> float:
    """How often a relation's wordings agree, of all pairs."""
    count = len(agreement)
    if count < 2:
        return UNKNOWN
    return float((agreement.sum() - np.trace(agreement)) / (count * (count - 1)))


def _columns(support: Support, consistency: float) -> tuple[float, ...]:
    """What the regression reads: a constant, and four numbers from 0 to 1 (the third from -1)."""
    return 1.0, support.agreement, support.probability, support.lead, consistency


def _regression(held: Sequence[_Held]) -> NDArray[np.float64]:
    """Weights of a logistic regression drawn towards PRIOR, by Newton's method: float64 [5]."""
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
