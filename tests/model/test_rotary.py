from __future__ import annotations

import math

import numpy as np
import pytest

from larqldb.model.network import Rotary
from larqldb.model.rotary import frequencies, tables

LLAMA_3_1 = Rotary(500000.0, "llama3", 8.0, 1.0, 4.0, 8192)


def test_default_frequencies():
    got = frequencies(Rotary(10000.0), 64)
    assert got.dtype == np.float32
    assert got == pytest.approx([10000.0 ** (-2 * i / 64) for i in range(32)], rel=2e-7)


def test_linear_scaling_divides():
    plain, scaled = frequencies(Rotary(10000.0), 64), frequencies(Rotary(10000.0, "linear", 4.0), 64)
    assert np.array_equal(scaled, plain / 4)


def test_llama3_scaling_follows_the_published_rule():
    for base, got in zip(frequencies(Rotary(500000.0), 128).astype(float), frequencies(LLAMA_3_1, 128), strict=True):
        wavelength = 2 * math.pi / base
        if wavelength < 8192 / 4:
            expected = base
        elif wavelength > 8192 / 1:
            expected = base / 8
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            expected = (1 - smooth) * base / 8 + smooth * base
        assert got == pytest.approx(expected, rel=1e-6)


def test_all_three_ranges_of_llama3_occur():
    ratio = frequencies(LLAMA_3_1, 128) / frequencies(Rotary(500000.0), 128)
    assert ratio[0] == 1
    assert ratio[-1] == pytest.approx(1 / 8)
    assert ((ratio > 0.13) & (ratio < 0.99)).any()


def test_longrope_divides_each_pair_by_its_factor_and_makes_it_grow():
    rotary = Rotary(10000.0, "longrope", context=64, width=6, factors=(1.0, 2.0, 4.0), magnitude=1.5)
    whole = frequencies(Rotary(10000.0, width=6), 8)
    assert frequencies(rotary, 8) == pytest.approx(whole / [1, 2, 4])
    cosines, sines = tables(rotary, 8, 20, 16)
    assert cosines[:, :3] ** 2 + sines[:, :3] ** 2 == pytest.approx(np.full((20, 3), 2.25), abs=1e-5)
    assert (cosines[:, 3:] == 1).all()  # what is not turned stays as it is
    assert (sines[:, 3:] == 0).all()


def test_a_part_of_a_head_has_the_frequencies_of_a_head_of_that_width():
    assert np.array_equal(frequencies(Rotary(10000.0, width=48), 64), frequencies(Rotary(10000.0), 48))


def test_tables():
    cosines, sines = tables(Rotary(10000.0), 14, 20, 16)
    assert cosines.shape == sines.shape == (20, 8)
    assert cosines.dtype == sines.dtype == np.float32
    assert (cosines[0] == 1).all()
    assert cosines**2 + sines**2 == pytest.approx(np.ones((20, 8)), abs=1e-6)
    assert (cosines[:, 7] == 1).all()  # the padded pair does not rotate
    assert (sines[:, 7] == 0).all()
