"""Directions that tell some vectors from others: what makes an added feature answer to its own fact alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

RIDGE = 1e-2  # of the mean variance of a coordinate
ROUNDS = 12


def separating(wanted: Floats, others: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """The direction g [hidden] with g·x near 1 for ``wanted`` [n, hidden], 0 or below for all ``others``.

    Least squares over the wanted ones and those above 0 alone, by Newton's method; each group of others counts by its
    weight, the wanted ones by 1, however many vectors are in it. Only vectors that are hard to tell apart shape the
    direction, which is what tells apart vectors not among them: on prompts of SmolLM2's layer 24 with unseen wordings
    87 of 100 came out above every one of 4,000 others, against 45 to 77 by least squares over all of them.
    Keerthi and DeCoste, A modified finite Newton method for fast solution of large scale linear SVMs, 2005.
    """
    groups = [wanted, *others]
    x = np.concatenate(groups)
    shares = [1.0, *weights]
    each = [share / max(1, len(group)) for group, share in zip(groups, shares, strict=True)]
    weight = np.repeat(np.array(each, np.float32), [len(group) for group in groups])
    is_wanted = np.arange(len(x)) < len(wanted)
    moment = _moment(x, weight)
    ridge = np.float32(RIDGE * np.trace(moment) / len(moment)) * np.eye(len(moment), dtype=np.float32)
    active = np.ones(len(x), bool)
    goal = wanted.sum(axis=0) * weight[0]
    direction = np.zeros(x.shape[1], np.float32)
    for _ in range(ROUNDS):
        direction = np.linalg.solve(moment + ridge, goal)
        reached = x @ direction
        wrong = np.where(is_wanted, True, reached > 0)
        changed = wrong != active
        if not changed.any():
            break
        moment = moment + _moment(x[changed], np.where(wrong, weight, -weight)[changed])
        active = wrong
    return np.asarray(direction, np.float32)


def _moment(x: Floats, weight: Floats) -> Floats:
    """The weighted second moment: [hidden, hidden]."""
    return np.asarray((x * weight[:, None]).T @ x, np.float32)


def constant(groups: Sequence[Floats]) -> Floats:
    """The direction b [hidden] with b·x near 1 for every x of the groups, each counting alike.

    There is one because norms keep their inputs at one length: ±0.025 on SmolLM2's layers 22 to 26.
    """
    moment = np.sum([group.T @ group / len(group) for group in groups], axis=0)
    mean = np.sum([group.mean(axis=0) for group in groups], axis=0)
    ridge = 1e-3 * np.trace(moment) / len(moment) * np.eye(len(moment), dtype=np.float32)
    return np.asarray(np.linalg.solve(moment + ridge, mean), np.float32)
