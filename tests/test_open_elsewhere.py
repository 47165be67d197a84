"""A vindex is an ordinary SQLite file: other programs open it and read every table and view.

All of them run in processes of their own. Two SQLite libraries on one file in one process would drop each other's
locks (https://www.sqlite.org/howtocorrupt.html, section 2.2.1).
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCHEMA = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
EXPECTED = {
    *("edges", "entities", "feature_tokens", "feature_vectors", "features", "files", "layers", "migrations", "model"),
    *("model_graph", "patch_ops", "patches", "relation_templates", "relations", "tensor_chunks", "tensors", "tokens"),
}

# Reads every row of every table and view with the standard library's sqlite3.
READ_ALL = f"""
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], uri=True)
names = [name for (name,) in db.execute({SCHEMA!r})]
print(json.dumps({{name: len(db.execute(f'SELECT * FROM "{{name}}"').fetchall()) for name in names}}))
db.close()
"""


def python(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def read_all(uri: str) -> dict[str, int]:
    """Rows by table and view."""
    counts: dict[str, int] = json.loads(python("-c", READ_ALL, uri))
    return counts


@pytest.fixture
def counts(tiny_vindex: Path) -> dict[str, int]:
    return read_all(f"file:{tiny_vindex}")


def test_the_standard_library_reads_every_table_and_view(counts):
    assert set(counts) >= EXPECTED
    assert min(counts[name] for name in ("features", "feature_vectors", "layers", "model", "tensors", "tokens")) > 0


def test_only_ordinary_tables_and_views_are_in_the_file(tiny_vindex):
    sql = "SELECT count(*) FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'"
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])"
    assert python("-c", code, tiny_vindex, sql) == "0\n"


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed here")
def test_the_sqlite3_shell(tiny_vindex, counts):
    for name, count in counts.items():
        done = subprocess.run(
            ["sqlite3", tiny_vindex, f'SELECT count(*) FROM (SELECT * FROM "{name}")'],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == str(count)


def test_sqlite_utils(tiny_vindex, counts):
    found = {}
    for kind in ("tables", "views"):
        for entry in json.loads(python("-m", "sqlite_utils", kind, tiny_vindex, "--counts")):
            found[entry.get("table") or entry["view"]] = entry["count"]
    assert {name: found[name] for name in counts} == counts
    assert set(found) >= EXPECTED
    for name in counts:
        rows = json.loads(python("-m", "sqlite_utils", "rows", tiny_vindex, name, "--limit", "3"))
        assert len(rows) == min(3, counts[name])


def test_datasette_inspects_it(tiny_vindex, counts):
    report = json.loads(python("-m", "datasette", "inspect", tiny_vindex))
    tables = {name: entry["count"] for name, entry in report["tiny"]["tables"].items()}
    assert {name: counts[name] for name in tables} == tables


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_datasette_serves_every_table_and_view(tiny_vindex, counts, name):
    page = json.loads(python("-m", "datasette", tiny_vindex, "--get", f"/tiny/{name}.json?_size=2"))
    assert page["table"] == name
    assert len(page["rows"]) == min(2, counts[name])


def test_the_file_is_alone(tiny_vindex):
    assert [file.name for file in tiny_vindex.parent.iterdir()] == [tiny_vindex.name]


def test_it_opens_where_nothing_may_be_written(tiny_vindex, counts):
    tiny_vindex.chmod(0o444)
    tiny_vindex.parent.chmod(0o555)
    try:
        assert read_all(f"file:{tiny_vindex}?mode=ro") == counts
        assert read_all(f"file:{tiny_vindex}?immutable=1") == counts
        assert [file.name for file in tiny_vindex.parent.iterdir()] == [tiny_vindex.name]
    finally:
        tiny_vindex.parent.chmod(0o755)


def test_facts_as_triples(tiny_vindex):
    statement = "SELECT relationship, object FROM model_graph WHERE subject = 'France'"
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).description[1][0])"
    assert python("-c", code, tiny_vindex, statement) == "object\n"
