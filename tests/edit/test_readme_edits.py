"""README's statements about edits run."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_statements_run(conn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```lql\n(.*?)```", README, re.DOTALL)
    statements = [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]
    assert len(statements) == 13
    answers = [conn.execute(statement).fetchall() for statement in statements]
    assert [len(rows) for rows in answers] == [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 0]
    assert answers[1][0][1] == " Paris"
    assert answers[3][0][:3] == ("Atlantis", "capital", "Berlin")
