"""README's statements run, and its figures are those that were measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import larqldb

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def statements() -> list[str]:
    return [statement.strip() for block in blocks("sql") for statement in block.split(";") if statement.strip()]


@pytest.mark.parametrize("statement", statements())
def test_each_query_gives_rows(statement: str, smollm2_vindex: Path) -> None:
    with larqldb.connect(smollm2_vindex, read_only=True) as connection:
        assert connection.execute(statement).fetchall()


def test_most_queries_need_no_larqldb(smollm2_vindex: Path) -> None:
    plain = [statement for statement in statements() if not re.search(r"(walk|match)\(", statement)]
    assert len(plain) == 5
    code = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "for statement in sys.argv[2:]: assert db.execute(statement).fetchall()"
    )
    subprocess.run([sys.executable, "-c", code, str(smollm2_vindex), *plain], check=True)


def test_the_python_example(smollm2_vindex: Path) -> None:
    (example,) = blocks("python")
    lines = [line for line in example.splitlines() if not line.startswith("larqldb.extract")]
    code = "\n".join(lines).replace('"smollm2.vindex"', repr(str(smollm2_vindex)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "1  Paris 0.773" in done.stdout
    assert "[(19, 61, " in done.stdout


def test_the_figures_are_those_measured() -> None:
    command = [sys.executable, str(ROOT / "tools" / "bench" / "readme.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "run tools/bench/readme.py"
