"""Inner products of many vectors with one: float32 proposes, float64 decides what rounding leaves open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from larqldb.storage.vectors import float64_parts

Floats = NDArray[np.float32]

EPS32 = 2.0**-24  # unit roundoff of float32


def best(
    matrix: Floats,
    largest: float,
    query: Floats,
    count: int,
    *,
    absolute: bool = False,
    allowed: NDArray[np.int64] | None = None,
    added: Floats | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The ``count`` rows of a matrix [n, hidden] with the largest row·q (or |row·q|), best first, ties by lower row.

    Returns rows and products, exact as numpy sums them in float64. ``largest`` is at least the rows' largest norm;
    ``allowed`` are the rows that may be chosen, ascending; ``added`` [n] is added to the products first.
    """
    rows = np.arange(len(matrix)) if allowed is None else allowed
    if count < len(rows):
        rough = matrix @ query if added is None else (matrix @ query).astype(np.float64) + added
        rough = rough if allowed is None else rough[allowed]
        if absolute:
            rough = np.abs(rough)
        last = np.partition(rough, len(rough) - count)[len(rough) - count]
        rows = rows[rough >= last - 2.01 * rounding(largest, query)]
    exact = products(matrix if len(rows) == len(matrix) else matrix[rows], query)
    if added is not None:
        exact += added[rows]
    order = np.lexsort((rows, -np.abs(exact) if absolute else -exact))[:count]
    return rows[order], exact[order]


def rounding(largest: float, query: Floats) -> float:
    """How far a product with a row of norm up to ``largest`` may be off when computed in float32.

    n·u/(1 − n·u)·|g|·|q| for n numbers and unit roundoff u (Higham, Accuracy and Stability of Numerical Algorithms,
    3.1).
    """
    return len(query) * EPS32 / (1 - len(query) * EPS32) * largest * float(np.linalg.norm(query))


def products(matrix: Floats, query: Floats) -> NDArray[np.float64]:
    """Every row·q in float64; numpy adds every row in the same order: equal rows, equal sums."""
    wide = query.astype(np.float64)
    parts = [np.einsum("fh,h->f", part, wide) for part in float64_parts(matrix)]
    return np.concatenate(parts) if parts else np.empty(0)
