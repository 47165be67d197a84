from __future__ import annotations

import random
import string

import numpy as np
import pytest

from larqldb.knowledge.patterns import CHANCE, Patterns, describe, script

RANDOM = random.Random(0)
FILLER = ["".join(RANDOM.choices(string.ascii_lowercase, k=RANDOM.randint(5, 9))) + "q" for _ in range(5000)]

GROUPS = {
    "pattern:year": "1987 1999 2003 2011 1945 1815 2020 1776 1066 1492",
    "pattern:number": "1 2 33 404 5.5 6,000 ٣ 四十 ½ Ⅳ",
    "pattern:date": "January Mai août jueves sábado Oct 星期 марта domingo Tuesday",
    "pattern:code": "def elif my_name camelCase PascalCase .append $value println( __init__ int64",
    "pattern:punctuation": ". , ;; -- !? “ 。 € )] …",
    "pattern:capitals": "NASA HTTPS OK USA ΟΗΕ ГОСТ EU UK DNA RNA",
    "pattern:name": "Paris Berlin Äthiopien Élodie Roma Oslo Marie Москва Peter Athen",
    "pattern:accented": "été café naïve señor über façade ação žena łódź ở",
    "pattern:ending:-ing": "walking singing reading wishing sailing melting printing bathing waiting cooking",
    "pattern:script:Cyrillic": "москва город слово книга мир дом вода земля небо день",
    "pattern:script:Han": "北京 城市 水 山 人 大学 中国 天 地 日本",
    "pattern:script:Arabic": "مدينة كتاب ماء سماء بيت يوم ليل باب قلم نور",
    "pattern:script:Hangul": "서울 도시 물 산 사람 대학 하늘 땅 집 책",
    "pattern:script:Devanagari": "नगर जल घर दिन रात वन फल नदी मन धन",
    "pattern:bytes": "\ufffd \ufffd\ufffd a\ufffd \ufffdb \ufffd. é\ufffd \ufffd1 \ufffdz q\ufffd \ufffd",
}


def find(texts: list[str]) -> tuple[str, float] | None:
    """The pattern of one feature that promotes ``texts``, in a vocabulary of English words."""
    vocabulary = [*FILLER, *texts]
    ids = np.arange(len(FILLER), len(vocabulary))[None]
    return Patterns(vocabulary).find(ids)[0]


@pytest.mark.parametrize(("name", "texts"), GROUPS.items(), ids=GROUPS)
def test_patterns(name: str, texts: str) -> None:
    found = find([f" {text}" for text in texts.split()])
    assert found is not None
    assert found[0] == name
    assert found[1] >= 0.8
    assert describe(name).startswith("at least half")


def test_whitespace() -> None:
    assert find([" ", "\n", "\t", "  ", "\n\n", "\u00a0", "   ", "\r\n", "\u3000", "\t\t"]) == (
        "pattern:whitespace",
        1.0,
    )


def test_the_share_is_of_the_tokens_that_match() -> None:
    texts = [*GROUPS["pattern:year"].split()[:6], "apple", "bread", "house", "river"]
    assert find(texts) == ("pattern:year", 0.6)


def test_most_tokens_win_and_of_equals_the_more_telling() -> None:
    years = GROUPS["pattern:year"].split()
    assert find([*years[:6], "7", "8", "9", "10"]) == ("pattern:number", 1.0)
    assert find(years) == ("pattern:year", 1.0)


def test_fewer_than_half_is_no_pattern() -> None:
    assert find([*GROUPS["pattern:year"].split()[:4], *FILLER[:6]]) is None


def test_spellings_of_one_word_share_no_ending() -> None:
    assert find(["walking", " walking", "Walking", " Walking", "walking", *FILLER[:5]]) is None


def test_what_is_common_in_the_vocabulary_has_to_match_more_tokens() -> None:
    chinese = GROUPS["pattern:script:Han"].split()
    vocabulary = [*FILLER[: len(chinese) * 20], *chinese * 20]
    half = np.array([[*range(len(chinese) * 20, len(chinese) * 20 + 7), 0, 1, 2]])
    assert Patterns(vocabulary).find(half) == [None]
    assert find([*chinese[:7], *FILLER[:3]]) == ("pattern:script:Han", 0.7)


def test_random_tokens_have_no_pattern() -> None:
    texts = [*FILLER, *(word for group in GROUPS.values() for word in group.split())]
    drawn = np.random.default_rng(0).integers(0, len(texts), (5000, 10))
    found = [one for one in Patterns(texts).find(drawn) if one is not None]
    assert len(found) <= 5000 * CHANCE * 100


def test_special_tokens_match_nothing() -> None:
    texts = [*FILLER, *("<|im_start|>", "[UNK]", "_pad_", "__eos__", "a_b") * 2]
    tokens = np.arange(len(FILLER), len(texts))[None]
    assert Patterns(texts, special=set(tokens[0].tolist())).find(tokens) == [None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Paris", "Latin"), ("привет", "Cyrillic"), ("水a", None), ("東京", "Han"), ("12", None), ("한국", "Hangul")],
)
def test_script(text: str, expected: str | None) -> None:
    assert script(text) == expected
