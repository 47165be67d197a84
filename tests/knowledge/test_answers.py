from __future__ import annotations

import pytest

from larqldb.knowledge.answers import finished, key, matches, normalised


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" Paris.", "Paris"),
        (" Paris\n", "Paris"),
        (" Paris, France", "Paris"),
        (" the city of Paris and the", "city of Paris"),
        (" Washington D.C. It", "Washington D.C"),
        (" D.C. The", "D.C"),
        (" U.S. dollar.", "U.S. dollar"),
        (" St. Louis.", "St. Louis"),
        (" A. P. Møller.", "A. P. Møller"),
        (" 1.\n", "1"),
        (" 1,000.\n", "1,000"),
        (" 3.14 and it", "3.14"),
        (" Trinidad and Tobago.", "Trinidad and Tobago"),
        (' "Paris".', "Paris"),
        (" **Paris**", "Paris"),
        (" \n\nParis\n", "Paris"),
        (" Port-au-Prince.", "Port-au-Prince"),
        (" Paris in the", "Paris"),
        (" Paris which is", "Paris"),
        (" Paris - the", "Paris"),
        (" North Korea (DPRK)", "North Korea"),
        (" the United States of America.", "United States of America"),
        (" Côte d'Ivoire.", "Côte d'Ivoire"),
        ("東京。", "東京"),
        (".", ""),
        (") and", ""),
    ],
)
def test_where_an_answer_ends(text, answer):
    assert finished(text) == answer


@pytest.mark.parametrize(
    "text", ["", "\n", " Paris", " D.C.", " 1,", " 1.", " St.", " Trinidad and", " Paris in", ' "']
)
def test_what_may_still_go_on(text):
    assert finished(text) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  the  Hague ", "Hague"),
        ("The Hague", "The Hague"),
        ("“Paris”!", "Paris"),
        ("$5", "$5"),
        ("-3", "-3"),
        ("Pa\x00ris\ufffd", "Paris"),
        ("e\u0301", "é"),
        ("...", ""),
    ],
)
def test_normalised(text, kept):
    assert normalised(text) == kept


def test_answers_that_are_the_same():
    assert key("The São-Paulo") == key("sao paulo")
    assert key("Paris") != key("Parish")
    assert matches("washington d.c", ["Seattle", "Washington, D.C."])
    assert not matches("", [""])
