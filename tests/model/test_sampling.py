from __future__ import annotations

import numpy as np
import pytest

from larqldb.errors import ProgrammingError
from larqldb.model.sampling import Sampler, Sampling

LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.3, 0.15], np.float32))


def drawn(count: int = 4000, **settings: object) -> np.ndarray:
    sampler = Sampler(Sampling(seed=7, **settings))
    return np.bincount([sampler.choose(LOGITS) for _ in range(count)], minlength=5) / count


def test_temperature_zero_takes_the_likeliest_and_of_equals_the_first():
    assert Sampler(Sampling()).choose(LOGITS) == 1
    assert Sampler(Sampling()).choose(np.array([1, 3, 3, 2], np.float32)) == 1


def test_temperature_one_draws_by_probability():
    assert np.abs(drawn(temperature=1) - np.exp(LOGITS)).max() < 0.03


def test_temperature_sharpens_and_flattens():
    assert drawn(temperature=0.3)[1] > 0.6
    assert drawn(temperature=50).min() > 0.15


def test_top_k_keeps_the_likeliest():
    shares = drawn(temperature=1, top_k=2)
    assert set(np.flatnonzero(shares)) == {1, 3}
    assert shares[1] == pytest.approx(4 / 7, abs=0.03)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.3, {1}), (0.41, {1, 3}), (0.69, {1, 3}), (0.8, {1, 3, 4}), (1.0, {0, 1, 2, 3, 4})]
)
def test_top_p_keeps_the_fewest_that_reach_it(top_p, kept):
    assert set(np.flatnonzero(drawn(temperature=1, top_p=top_p))) == kept


def test_top_p_counts_within_top_k():
    assert set(np.flatnonzero(drawn(temperature=1, top_k=2, top_p=0.5))) == {1}


def test_the_same_seed_draws_the_same():
    def draw(seed):
        sampler = Sampler(Sampling(1.0, seed=seed))
        return [sampler.choose(LOGITS) for _ in range(50)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    assert draw(None) != draw(None)


def test_a_tiny_temperature_is_greedy_not_an_overflow():
    assert drawn(50, temperature=1e-300)[1] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature must be a number from 0 to 100, not -0.1"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_k": 0}, "top_k must be a whole number from 1 up, not 0"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": 0}, "top_p must be a number above 0 and up to 1, not 0"),
        ({"top_p": 1.01}, "top_p"),
        ({"seed": -1}, "seed must be a whole number from 0 up, not -1"),
        ({"seed": True}, "seed"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ProgrammingError, match=message):
        Sampling(**settings)
