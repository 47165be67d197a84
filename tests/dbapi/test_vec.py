"""Plain sqlite-vec SQL on the derived schema ``vec``, which comes to be when a statement first names its tables."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import larqldb

NEAREST = "SELECT layer, feature FROM vec.gates WHERE vector MATCH gate_query(?, 2) AND layer = 2 AND k = 5"


@pytest.mark.parametrize("read_only", [False, True])
def test_vec_is_there_when_named(tiny_vindex: Path, read_only: bool) -> None:
    with closing(larqldb.connect(tiny_vindex, read_only=read_only)) as connection:
        found = connection.execute(NEAREST, ("France",)).fetchall()
        exact = connection.execute("SELECT layer, feature FROM gate_match(?, 5, 2)", ("France",)).fetchall()
        assert sorted(found) == sorted(exact)
        assert len(found) == 5


def test_reading_alone_makes_no_index(tiny_vindex: Path) -> None:
    with closing(larqldb.connect(tiny_vindex)) as connection:
        connection.execute("SELECT * FROM features").fetchall()
        connection.execute("SELECT * FROM gate_match('France', 3)").fetchall()
    assert [path.name for path in tiny_vindex.parent.iterdir()] == [tiny_vindex.name]


def test_other_missing_tables_stay_missing(tiny_vindex: Path) -> None:
    with (
        closing(larqldb.connect(tiny_vindex)) as connection,
        pytest.raises(larqldb.ProgrammingError, match="no such table"),
    ):
        connection.execute("SELECT * FROM vec.missing")
