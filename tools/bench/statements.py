"""What a statement costs before SQLite runs it, and what larqldb's cursors add to a SELECT, against bare apsw."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw
from common import ROOT, Figure, save

import larqldb
from larqldb.dbapi.statements import plan
from larqldb.storage.database import create_database

ACCEPT = ROOT / "tests" / "lql" / "accept.txt"
LAYERS, FEATURES = 30, 1536
MANY = "SELECT layer, feature, token, score FROM features LIMIT 10000"
ONE = "SELECT token, score FROM features WHERE layer = ? AND feature = ?"


def microseconds(action: Callable[[], object], calls: int) -> float:
    """Mean wall time of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        action()
    return (time.perf_counter() - start) / calls * 1e6


def texts() -> list[str]:
    lines = ACCEPT.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def planning() -> tuple[dict[str, float], dict[str, float]]:
    """Per statement of the accept list, microseconds to parse and lower it: never seen before, and seen."""
    plan("DESCRIBE 'once'")  # imports what lowering needs
    first: dict[str, float] = {}
    again: dict[str, float] = {}
    for text in texts():
        # A comment makes it another text, which no cache holds.
        unseen = iter([f"{text} -- {number}" for number in range(5)])
        first[text] = statistics.median(microseconds(lambda unseen=unseen: plan(next(unseen)), 1) for _ in range(5))
        plan(text)
        again[text] = microseconds(lambda text=text: plan(text), 1000)
    return first, again


def side_by_side(path: Path, sql: str, values: tuple[int, ...], calls: int, repetitions: int) -> dict[str, float]:
    """Median microseconds of a SELECT and its rows through larqldb and through apsw, taken in turns, and the ratio."""
    ours, bare = larqldb.connect(path), apsw.Connection(str(path))
    times = [
        (
            microseconds(lambda: ours.execute(sql, values).fetchall(), calls),
            microseconds(lambda: bare.execute(sql, values).fetchall(), calls),
        )
        for _ in range(repetitions)
    ]
    ours.close()
    bare.close()
    return {
        "larqldb_us": statistics.median(own for own, _ in times),
        "apsw_us": statistics.median(other for _, other in times),
        "ratio": statistics.median(own / other for own, other in times),
    }


def fill(path: Path) -> None:
    """A vindex of SmolLM2's size with made-up features."""
    db = create_database(path)
    with db:
        db.executemany(
            "INSERT INTO features (layer, feature, token, token_id, score, gate_norm, up_norm, down_norm) "
            "VALUES (?, ?, ?, ?, ?, 1.5, 1.5, 1.5)",
            [
                (layer, feature, f" word{layer * feature % 9973}", feature, feature / 100)
                for layer in range(LAYERS)
                for feature in range(FEATURES)
            ],
        )
    db.close()


def main() -> None:
    first, again = planning()
    slowest = max(first, key=first.__getitem__)
    figures = [
        Figure(
            "parse and lower a statement seen for the first time, median of the accept list",
            statistics.median(first.values()) / 1e3, "ms", "≤ 2",
            {
                "statements": len(first),
                "queries_ms": statistics.median(time for text, time in first.items() if plan(text).lowered) / 1e3,
                "slowest": slowest,
                "slowest_ms": first[slowest] / 1e3,
            },
        ),
        Figure("the same, seen before", statistics.median(again.values()), "µs", "≤ 50"),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.vindex"
        fill(path)
        many = side_by_side(path, MANY, (), 1, 51)
        one = side_by_side(path, ONE, (3, 5), 20, 501)
        nothing = side_by_side(path, "SELECT 1", (), 100, 501)
    figures += [
        Figure("SELECT of 10,000 rows, over bare apsw", many["ratio"], "ratio", "≤ 1.15", many),
        Figure("SELECT of one row by its key, over bare apsw", one["ratio"], "ratio", "≤ 2", one),
        Figure("SELECT 1, which reads no file, over bare apsw", nothing["ratio"], "ratio", "reported", nothing),
    ]
    save(__file__, figures)


if __name__ == "__main__":
    main()
