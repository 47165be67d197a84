"""Bands of layers, and what counts as a word."""

from __future__ import annotations

import pytest

from larqldb.extract.bands import bands
from larqldb.extract.words import is_name, is_word


def test_three_plain_stages() -> None:
    profiles = [(0.1, 0.7, 4, 4)] * 4 + [(0.2, 0.7, 4, 5)] * 6 + [(0.4, 0.9, 4, 9)] * 3
    assert bands(profiles) == ["syntax"] * 4 + ["knowledge"] * 6 + ["output"] * 3


def test_every_layer_has_a_band_in_order() -> None:
    for count in range(1, 14):
        found = bands([(i * 0.37 % 1, i * 0.73 % 1, 1 + i, 2 + i % 3) for i in range(count)])
        assert len(found) == count
        order = [("syntax", "knowledge", "output").index(band) for band in found]
        assert order == sorted(order)
        if count >= 3:
            assert set(order) == {0, 1, 2}


def test_equal_layers_still_have_bands() -> None:
    assert set(bands([(0.1, 0.1, 1.0, 1.0)] * 5)) == {"syntax", "knowledge", "output"}


@pytest.mark.parametrize("text", [" Paris", "Paris", "été", "東京", "Москва", "القاهرة", "हिन्दी", "New-York", "d'or"])
def test_words(text: str) -> None:
    assert is_word(text)


@pytest.mark.parametrize("text", ["", " ", "12", "!!", "a1", "<eos>", "-", "\n", "foo_bar", "\ufffd", "x=y"])
def test_not_words(text: str) -> None:
    assert not is_word(text)


@pytest.mark.parametrize("text", [" Paris", " Москва", "東京", " Élise", "القاهرة"])
def test_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["Paris", " paris", " A", " USA", "京", " of", " 12", " Is2"])
def test_not_names(text: str) -> None:
    assert not is_name(text)
