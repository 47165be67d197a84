"""Directions that tell some vectors from others: what makes an added feature answer to its own fact alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Group = tuple[float, Floats]

ROUNDS = 16
MORE = 192  # vectors that a round takes in at most, those furthest above 0
NOTHING = 0.01  # as far above 0 as a vector may come out that is not taken in
FEW = 0.02  # of the vectors come or go in the last round: cosines to where none does are above 0.999999


def separating(wanted: Sequence[Group], others: Sequence[Group], ridge: float) -> Floats:
    """The direction g [hidden] with g·x near 1 for all ``wanted``, 0 or below for all ``others``.

    A group is a weight and vectors [n, hidden] that share it. Least squares over the wanted ones and those above 0
    alone, by Newton's method; ``ridge``, in mean variances of a coordinate, counts by its square. Only vectors that are
    hard to tell apart shape the direction, which is what tells apart vectors not among them: on prompts of SmolLM2's
    layer 24 with unseen wordings 87 of 100 came out above every one of 4,000 others, against 45 to 77 by least squares
    over all of them. The normal equations are kept from round to round; what comes and goes is added and taken away.
    Keerthi and DeCoste, A modified finite Newton method for fast solution of large scale linear SVMs, 2005.
    """
    groups = [group for group in (*wanted, *others) if len(group[1])]
    count, hidden = sum(len(vectors) for _, vectors in wanted), groups[0][1].shape[1]
    x = np.concatenate([vectors for _, vectors in groups])
    weight = np.concatenate([np.full(len(one), share / len(one), np.float32) for share, one in groups])
    ridge *= float(weight @ np.einsum("ij,ij->i", x, x)) / hidden
    moment = np.float32(ridge) * np.eye(hidden, dtype=np.float32) + _moment(x[:count], weight[:count])
    goal, x, weight = weight[:count] @ x[:count], x[count:], weight[count:]
    active = np.zeros(len(x), np.bool_)
    direction = np.zeros(hidden, np.float32)
    for _ in range(ROUNDS):
        direction = np.linalg.solve(moment, goal)
        reached = x @ direction
        new, gone = np.flatnonzero(~active & (reached > NOTHING)), np.flatnonzero(active & (reached <= 0))
        if len(new) + len(gone) <= FEW * (count + np.count_nonzero(active)):
            break
        new = new[np.argsort(-reached[new], kind="stable")[:MORE]]
        moment += _moment(x[new], weight[new]) - _moment(x[gone], weight[gone])
        active[new], active[gone] = True, False
    return np.asarray(direction, np.float32)


def _moment(x: Floats, weight: Floats) -> Floats:
    """Σ weight x xᵀ over x [n, hidden], weight [n]: [hidden, hidden]."""
    scaled = x * np.sqrt(weight)[:, None]  # its own product with itself costs half
    return np.asarray(scaled.T @ scaled, np.float32)


def constant(groups: Sequence[Floats]) -> Floats:
    """The direction b [hidden] with b·x near 1 for every x of the groups, each counting alike.

    There is one because norms keep their inputs at one length: ±0.025 on SmolLM2's layers 22 to 26. With a large ridge
    it is near 1 on text unlike these, too: fitted as well as may be, b·x was below 0.37 on one of 20 tokens of a
    licence and of French, where gates then opened; with this ridge below 0.61.
    """
    moment = np.sum([group.T @ group / len(group) for group in groups], axis=0)
    mean = np.sum([group.mean(axis=0) for group in groups], axis=0)
    found = np.linalg.solve(moment + np.trace(moment) / len(moment) * np.eye(len(moment), dtype=np.float32), mean)
    return np.asarray(found * np.float32(len(groups)) / (mean @ found), np.float32)
