"""What chance alone would do: the exact distribution of hits under shuffled labels, and a bound on false findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]


def log_chance(hits: Integers, drawn: Integers, marked: Integers, total: int) -> Floats:
    """Natural logarithm of the probability of at least ``hits`` [n] marked ones among ``drawn`` [n], float64 [n].

    ``marked`` [n] of ``total`` are marked, and which ones are drawn is left to chance: the hypergeometric distribution,
    so the result is that of Fisher's exact test, one-sided (https://en.wikipedia.org/wiki/Fisher%27s_exact_test).
    """
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, total + 1)))])  # logarithms of 0! to total!

    def choose(n: Integers, k: Integers) -> Floats:
        return np.asarray(factorial[n] - factorial[k] - factorial[n - k])

    most = np.minimum(drawn, marked)
    least = np.maximum(0, drawn + marked - total)
    first = np.clip(hits, least, most)
    exactly = choose(marked, first) + choose(total - marked, drawn - first) - choose(np.full_like(drawn, total), drawn)
    # The terms after the first, each as a multiple of it: a term is the one before it times a ratio of counts.
    term, tail, x = np.ones(len(hits)), np.ones(len(hits)), first.astype(np.float64)
    open_ = np.flatnonzero(x < most)
    with np.errstate(over="ignore"):  # far below the mean: the sum is infinite and the probability 1
        while len(open_):
            at, n, k = x[open_], drawn[open_], marked[open_]
            term[open_] *= (k - at) * (n - at) / ((at + 1) * (total - k - n + at + 1))
            tail[open_] += term[open_]
            x[open_] += 1
            open_ = open_[(x[open_] < most[open_]) & (term[open_] > 1e-17 * tail[open_])]
        logarithm = np.minimum(exactly + np.log(tail), 0)
    logarithm[hits <= least] = 0.0
    logarithm[hits > most] = -np.inf
    return logarithm


def unlikely(log_chances: Floats, rate: float) -> NDArray[np.bool_]:
    """Which of many findings [n] to believe so that at most ``rate`` of those believed are chance, on average.

    Benjamini and Hochberg, Controlling the False Discovery Rate, 1995, https://doi.org/10.1111/j.2517-6161.1995.tb02031.x
    """
    count = len(log_chances)
    ordered = np.sort(log_chances)
    allowed = np.log(rate) + np.log(np.arange(1, count + 1)) - np.log(max(count, 1))
    passing = np.flatnonzero(ordered <= allowed)
    if not len(passing):
        return np.zeros(count, np.bool_)
    return np.asarray(log_chances <= ordered[passing[-1]])
