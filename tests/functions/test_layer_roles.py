"""Bands from traces: what is found, and what is stored."""

from __future__ import annotations

from contextlib import closing

import pytest

import larqldb
from larqldb.dbapi.bands import store_bands
from larqldb.errors import DataError, MissingPart
from larqldb.functions import layer_roles

ORDER = ["syntax", "knowledge", "output"]
FOUND = [
    (0, "syntax", 0.1, 0.9),
    (1, "knowledge", 0.1, 0.1),
    (2, "knowledge", 0.2, 0.1),
    (3, "output", 0.9, None),
    (4, "output", 1.0, None),
]


@pytest.mark.parametrize(("model", "first_output"), [("smollm2", range(21, 24)), ("gemma3", range(9, 13))])
def test_output_begins_where_the_answer_arrives(request, model, first_output):
    path = request.getfixturevalue(f"{model}_vindex")
    with closing(larqldb.connect(path, read_only=True)) as connection:
        rows = layer_roles.layer_roles(connection.session)
    found = [band for _, band, *_ in rows]
    assert found == sorted(found, key=ORDER.index)
    assert set(found) == set(ORDER)
    assert found.index("output") in first_output
    assert rows[-1][2] > 0.9
    assert all(lost is None for _, band, _, lost in rows if band == "output")
    assert [lost > 0.5 for _, band, _, lost in rows if band == "knowledge"].count(True) == 0
    last_of_syntax = max(layer for layer, band, *_ in rows if band == "syntax")
    assert rows[last_of_syntax][3] > 0.5


def test_they_are_stored_with_their_evidence(tiny_vindex, monkeypatch):
    monkeypatch.setattr(layer_roles, "layer_roles", lambda session: FOUND)
    with closing(larqldb.connect(tiny_vindex)) as connection:
        store_bands(connection)
        connection.commit()
        assert connection.execute("SELECT layer, band, answers_read, knockout FROM layers").fetchall() == FOUND
        assert connection.execute("SHOW LAYERS 0-1").fetchall()[0][1] == "syntax"
        (method,) = connection.execute("SELECT value FROM model WHERE key = 'bands_method'").fetchone()
        assert method.startswith("traces of 30 facts")


def test_a_model_that_knows_nothing_keeps_its_bands(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        before = connection.execute("SELECT band FROM layers").fetchall()
        with pytest.raises(DataError, match="of the facts that bands are found by; they stay as extraction found them"):
            store_bands(connection)
        assert connection.execute("SELECT band FROM layers").fetchall() == before


def test_a_file_without_the_network_refuses(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "browse.vindex", level="browse")
    refused = pytest.raises(MissingPart, match="larqldb bands needs attention weights")
    with closing(larqldb.connect(tmp_path / "browse.vindex")) as connection, refused:
        store_bands(connection)
