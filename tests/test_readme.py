"""README's statements run, and its figures are those that were measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import larqldb

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


GRAPH = README[README.index("## The graph") : README.index("## Models")]  # needs a file that was probed


def blocks(language: str, text: str = README.replace(GRAPH, "")) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def statements(*text: str) -> list[str]:
    return [statement.strip() for block in blocks("sql", *text) for statement in block.split(";") if statement.strip()]


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


# entity, relation, target, confidence
EDGES = [
    ("France", "capital", "Paris", 0.98), ("Île-de-France", "capital", "Paris", 0.4),
    ("Spain", "capital", "Madrid", 0.97), ("Austria", "capital", "Vienna", 0.99),
    ("Brazil", "capital", "Rio de Janeiro", 0.65), ("Germany", "borders", "Austria", 0.5),
    ("Germany", "borders", "France", 0.8), ("France", "borders", "Germany", 0.4),
    ("France", "borders", "Spain", 0.2), ("Spain", "borders", "Portugal", 0.4), ("Spain", "borders", "France", 0.6),
    ("Portugal", "borders", "Spain", 0.3), ("Portugal", "borders", "Portugal", 0.3),
]  # fmt: skip


@pytest.fixture
def probed(tiny_vindex: Path) -> Path:
    """A file with edges such as probing SmolLM2 makes."""
    with larqldb.connect(tiny_vindex) as connection:
        for relation in ("capital", "borders"):
            connection.execute("INSERT INTO relations (name, source) VALUES (?, 'pack')", (relation,))
        connection.executemany(
            "INSERT INTO edge_records (entity, relation, target, confidence, agreement, source) "
            "VALUES (?, ?, ?, ?, 0.5, 'probe')",
            EDGES,
        )
        connection.execute("INSERT INTO facts VALUES ('capital', 'Brazil', 'Brasília', NULL, 'geography')")
        connection.execute(
            "INSERT INTO edge_evidence SELECT edge_id, value, 0, 3, value, 5.0 - value, 1 "
            "FROM edge_records, json_each('[1, 2, 3]') WHERE entity = 'France' AND target = 'Paris'"
        )
    connection.close()
    return tiny_vindex


def test_the_graphs_queries_answer(probed: Path) -> None:
    code = (
        "import json, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "print(json.dumps([db.execute(statement).fetchall() for statement in sys.argv[2:]]))"
    )
    asked = [sys.executable, "-c", code, str(probed), *statements(GRAPH)]
    paris, hops, reached, ways, wrong, evidence = json.loads(
        subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    )
    assert paris == [["France", 0.98], ["Île-de-France", 0.4]]
    assert [row[:2] for row in hops] == [["France", "Paris"], ["Austria", "Vienna"]]
    assert hops[0][2] == pytest.approx(0.8 * 0.98)
    assert reached == [["Portugal", 0], ["Spain", 1], ["France", 2], ["Germany", 3], ["Austria", 4]]
    assert ways == [['["Portugal","Spain","France","Germany","Austria"]']]
    assert wrong == [["Brazil", "capital", "Rio de Janeiro", "Brasília", 0.65]]
    assert [row[:3] for row in evidence] == [[3, 1, 4.0], [3, 2, 3.0], [3, 3, 2.0]]


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
