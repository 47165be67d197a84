from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larqldb.lql.tokens import Kind, quote_lql, scan, tokenize


def kinds(text: str) -> str:
    return " ".join(token.kind for token in scan(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('WALK "x" TOP 5', "word quoted word number"),
        ("WALK 'x'", "word string"),
        ("SHOW LAYERS 0-33", "word word number operator number"),
        ("STATS -- comment", "word"),
        ("STATS /* a * / b */ |> STATS", "word operator word"),
        ("/* never closed", ""),
        ("WALK ?", "word parameter"),
        ("WALK ?12 :name", "word parameter parameter"),
        ("WALK @x", "word bad word"),
        ("SELECT @x, $y", "word parameter operator parameter"),
        ("SELECT x'00' xx", "word blob word"),
        ("SELECT [a b], `c d`", "word name operator name"),
        ("SELECT 1.5e-3, .5, 0xFF, 1_000", "word number operator number operator number operator number"),
        ("SELECT 12abc", "word bad"),
        ("SELECT a->>'b', c || d", "word word operator string operator word operator word"),
        ("WALK 'never closed", "word bad"),
        ("WALK “curly”", "word word"),
        ("a\0b", "word bad word"),
        ("\ufeffSTATS", "word"),
    ],
)
def test_kinds(text: str, expected: str) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'WALK "a\"b"', 'a"b'),
        (r"WALK 'a\'b'", "a'b"),
        ('WALK "a""b"', 'a"b'),
        ("WALK 'a''b'", "a'b"),
        ("WALK 'a\"\"b'", 'a""b'),
        (r'WALK "\\ \n \t \r \0"', "\\ \n \t \r \0"),
        (r'WALK "\\n"', r"\n"),
        ('WALK "a;b--c/*d|>"', "a;b--c/*d|>"),
        (r"SELECT 'a\n'", r"a\n"),
        ("SELECT 'C:\\'", "C:\\"),
        ('SELECT "a""b"', 'a"b'),
    ],
)
def test_string_values(text: str, value: str) -> None:
    assert list(scan(text))[-1].value == value


def test_a_statement_changes_its_language_at_a_pipe_and_at_nearest_to() -> None:
    values = [token.value for token in scan(r"SELECT 'a\' |> DESCRIBE 'a\'b' |> SELECT 'c\'")]
    assert values == ["SELECT", "a\\", "|>", "DESCRIBE", "a'b", "|>", "SELECT", "c\\"]
    values = [token.value for token in scan(r"SELECT 'a\', b FROM edges NEAREST TO 'c\'d' WHERE e = 'f\'")]
    assert [values[1], values[8], values[-1]] == ["a\\", "c'd", "f\\"]


def test_unknown_escape_is_reported_where_it_is() -> None:
    bad = tokenize(r'WALK "ab\d"')[1]
    assert (bad.kind, bad.start) == (Kind.BAD, 8)


@settings(deadline=None)
@given(st.text())
def test_tokens_cover_the_text_in_order_and_stop(text: str) -> None:
    tokens = tokenize(text)
    assert len(tokens) <= len(text) + 1
    assert all(before.end <= after.start for before, after in pairwise(tokens[:-1]))
    assert all(token.text == text[token.start : token.end] for token in tokens if token.kind is not Kind.BAD)


@settings(deadline=None)
@given(st.text(), st.sampled_from("'\""))
def test_any_string_survives_quoting(value: str, quote: str) -> None:
    (token,) = scan(quote_lql(value, quote), fragment=True)
    assert token.value == value
