from __future__ import annotations

import pytest

from larqldb.lql import split


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" ;; -- nothing\n;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\n-- two\nSELECT 2 ; ", ["SELECT 1", "SELECT 2"]),
        ('DESCRIBE "a;\\";b"; STATS', ['DESCRIBE "a;\\";b"', "STATS"]),
        ("SELECT '\\'; SELECT ';'", ["SELECT '\\'", "SELECT ';'"]),
        ("SELECT 1 -- a; b\n; SELECT /* ; */ 2;", ["SELECT 1", "SELECT /* ; */ 2"]),
        ("SELECT 'never; closed", ["SELECT 'never; closed"]),
        ("SELECT 1 |> DESCRIBE 'a\\';'; STATS", ["SELECT 1 |> DESCRIBE 'a\\';'", "STATS"]),
        (
            "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END; STATS;",
            ["CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END", "STATS"],
        ),
        ("BEGIN; SELECT 1; END; SELECT 2", ["BEGIN", "SELECT 1", "END", "SELECT 2"]),
    ],
)
def test_split(script: str, statements: list[str]) -> None:
    assert list(split(script)) == statements


def test_accept_list_is_a_script(accept_list: list[str]) -> None:
    script = "\n".join(line if line.rstrip().endswith(";") or "--" in line else f"{line};" for line in accept_list)
    statements = list(split(script.replace("STATS -- trailing comment", "STATS; -- trailing comment")))
    assert len(statements) == len(accept_list)
