from __future__ import annotations

from itertools import combinations
from math import comb, exp

import numpy as np
import pytest

from larqldb.knowledge.chance import log_chance, unlikely


def exact(hits: int, drawn: int, marked: int, total: int) -> float:
    ways = sum(comb(marked, k) * comb(total - marked, drawn - k) for k in range(hits, min(drawn, marked) + 1))
    return ways / comb(total, drawn)


def chance(hits: int, drawn: int, marked: int, total: int) -> float:
    return exp(log_chance(np.array([hits]), np.array([drawn]), np.array([marked]), total)[0])


@pytest.mark.parametrize("total", [1, 2, 7, 30])
def test_it_is_the_exact_distribution(total: int) -> None:
    for drawn in range(total + 1):
        for marked in range(total + 1):
            for hits in range(max(0, drawn + marked - total), min(drawn, marked) + 1):
                assert chance(hits, drawn, marked, total) == pytest.approx(exact(hits, drawn, marked, total), rel=1e-9)


def test_it_is_what_shuffled_labels_give() -> None:
    labels = [1, 1, 1, 0, 0, 0, 0]  # three marked of seven, four of which are drawn
    drawn = [sum(labels[i] for i in chosen) for chosen in combinations(range(7), 4)]
    assert chance(2, 4, 3, 7) == pytest.approx(np.mean(np.array(drawn) >= 2))


def test_impossible_and_certain_counts() -> None:
    assert chance(4, 3, 9, 20) == 0  # more hits than drawn
    assert chance(0, 3, 9, 20) == 1


def test_very_small_and_very_large_probabilities_stay_finite() -> None:
    assert log_chance(np.array([500]), np.array([500]), np.array([500]), 100_000)[0] < -2000
    assert log_chance(np.array([1]), np.array([50_000]), np.array([50_000]), 100_000)[0] == 0


def test_many_at_once() -> None:
    hits, drawn, marked = (np.array(column) for column in ([0, 3, 9], [5, 5, 9], [10, 10, 10]))
    together = log_chance(hits, drawn, marked, 40)
    alone = [log_chance(hits[i : i + 1], drawn[i : i + 1], marked[i : i + 1], 40)[0] for i in range(3)]
    np.testing.assert_allclose(together, alone)


def test_findings_are_held_against_how_many_were_looked_at() -> None:
    few = np.log([0.001, 0.5])
    assert unlikely(few, 0.01).tolist() == [True, False]
    many = np.log(np.concatenate([[0.001], np.linspace(0.01, 1, 999)]))
    assert not unlikely(many, 0.01).any()


def test_a_finding_counts_with_those_that_are_less_likely() -> None:
    # Benjamini and Hochberg step up: the third is below 0.05 · 3 / 4, so the first two are believed with it.
    assert unlikely(np.log([0.03, 0.02, 0.035, 0.9]), 0.05).tolist() == [True, True, True, False]


def test_nothing_to_find() -> None:
    assert unlikely(np.empty(0), 0.01).tolist() == []
