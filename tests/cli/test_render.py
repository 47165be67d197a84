import io
import json
import re

import pytest

from larqldb.cli.render import as_csv, as_json, as_table, distinct, fitting, printable, shown


def rendered(how, columns, rows):
    out = io.StringIO()
    how(columns, rows, out)
    return out.getvalue()


@pytest.fixture
def terminal(monkeypatch):
    """Make rich see a terminal 60 characters wide, without colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (1 / 3, "0.333333"),
        (12345678.9, "1.23457e+07"),
        (7, "7"),
        ("\n", "\\n"),
        ("a\tb\r\0", "a\\tb\\r\\0"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eabc", "\\u202eabc"),
        ("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:"),
        ("שלום", "שלום"),
        (b"\x00\xff", "x'00ff' (2 bytes)"),
        (b"\x01" * 1000, "x'010101010101010101010101…' (1,000 bytes)"),
        ("x" * 5000, "x" * 1000 + "…"),
    ],
)
def test_values_in_a_table(value, text):
    assert shown(value) == text


def test_a_table_that_goes_into_a_file_is_not_cut():
    text = rendered(as_table, ["token", "score"], [(" Paris" * 50, 1.23456789), (None, None)])
    lines = text.splitlines()
    assert " Paris" * 50 in lines[3]
    assert "1.23457" in lines[3]
    assert "NULL" in lines[4]
    assert lines[-1] == "2 rows"


def test_a_table_on_a_terminal_is_as_wide_as_it(terminal):
    text = rendered(as_table, ["layer", "also", "token"], [(1, "[" + "x, " * 100 + "]", " Paris"), (2, "y", "\n")])
    lines = text.splitlines()
    assert max(len(re.sub("\x1b\\[[0-9;]*m", "", line)) for line in lines) <= 60
    assert "…" in text
    assert " Paris" in text
    assert "\\n" in text


def test_an_empty_table_has_its_columns():
    text = rendered(as_table, ["layer", "token"], [])
    assert "layer" in text
    assert "token" in text
    assert text.endswith("0 rows\n")


def test_a_long_result_is_several_tables():
    text = rendered(as_table, ["n"], ((n,) for n in range(2500)))
    assert text.count("╭") == 3
    assert text.endswith("2,500 rows\n")


def test_markup_is_text():
    assert "[red]x[/red]" in rendered(as_table, ["[b]a[/b]"], [("[red]x[/red]",)])


def test_rows_are_not_read_ahead():
    out = io.StringIO()

    def rows():
        yield (1,)
        assert out.getvalue()
        yield (2,)

    as_json(["n"], rows(), out)
    assert json.loads(out.getvalue()) == [{"n": 1}, {"n": 2}]


def test_json_keeps_types_and_repeated_names():
    text = rendered(as_json, ["a", "a", "b"], [(1, 1.5, "é\n"), (None, float("-inf"), b"")])
    first, second = json.loads(text)
    assert first == {"a": 1, "a_2": 1.5, "b": "é\n"}
    assert second == {"a": None, "a_2": float("-inf"), "b": {"$base64": True, "encoded": ""}}
    assert "é" in text


def test_csv():
    text = rendered(as_csv, ["a", "b"], [('say "x"', 1.25), (None, b"\xab"), ("two\nlines", 1)])
    assert text == 'a,b\n"say ""x""",1.25\n,ab\n"two\nlines",1\n'


def test_distinct():
    assert distinct(["a", "b", "a", "a_2", "a"]) == ["a", "b", "a_2", "a_2_2", "a_3"]


@pytest.mark.parametrize(
    ("widths", "room", "fitted"),
    [
        ([3, 5], 80, [3, 5]),
        ([3, 100], 26, [3, 17]),
        ([50, 100, 4], 49, [18, 18, 4]),
        ([9] * 9, 30, [4] * 9),
        ([], 10, []),
    ],
)
def test_the_widest_columns_give_way(widths, room, fitted):
    assert fitting(widths, room) == fitted


def test_printable_leaves_ordinary_text_alone():
    text = " Paris é 東京 \U0001f600"
    assert printable(text) == text
