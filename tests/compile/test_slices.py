"""Slices: smaller vindexes that hold some parts, answer as the whole does with them, and say what they lack."""

from __future__ import annotations

import json
from contextlib import closing, suppress

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import larqldb
from larqldb.compile.slices import OWN, write_slice
from larqldb.errors import MissingPart, OutputExists, OutputFailed, ProgrammingError
from larqldb.model.edited import Edits
from larqldb.storage import edits, parts
from larqldb.storage.checksums import verify
from larqldb.storage.database import open_database
from larqldb.storage.edits import Operation
from larqldb.storage.parts import Part
from tests.tiny import write_tiny

PROMPT = "The capital of France is"
PURE = f"SELECT layer, feature, gate, token FROM walk('{PROMPT}', 5, 'pure')"
NETWORK = ["attention", "ffn", "embeddings"]


@pytest.fixture
def taken(tiny_vindex, tmp_path):
    """A function that slices the tiny vindex and opens the slice."""
    opened = []

    def take(*wanted, source=tiny_vindex):
        path = tmp_path / f"slice{len(opened)}.vindex"
        write_slice(source, path, wanted)
        opened.append(larqldb.connect(path))
        return opened[-1]

    yield take
    for connection in opened:
        connection.close()


def problems(path):
    with closing(open_database(path, read_only=True)) as db:
        return list(verify(db))


def rows(path, query):
    with closing(larqldb.connect(path, read_only=True)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize(
    "wanted",
    [
        ("browse",), ("knowledge",), ("features",), ("gates:1-2",), ("embeddings",), ("attention:0",), ("ffn:3-4",),
        ("edits",), tuple(NETWORK), ("browse", *NETWORK), ("browse", "ffn:2"),
    ],
)  # fmt: skip
def test_every_slice_is_sound_and_smaller(tiny_vindex, tmp_path, wanted):
    report = write_slice(tiny_vindex, tmp_path / "slice.vindex", wanted)
    assert problems(tmp_path / "slice.vindex") == []
    assert report.bytes == (tmp_path / "slice.vindex").stat().st_size
    if report.lacks:
        assert report.bytes < tiny_vindex.stat().st_size
    told = dict(rows(tmp_path / "slice.vindex", "SELECT key, value FROM model"))
    assert json.loads(told.get("lacks", "[]")) == list(report.lacks)


def test_the_same_bytes_again(tiny_vindex, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_slice(tiny_vindex, tmp_path / name / "s.vindex", ["browse"])
    assert (tmp_path / "one" / "s.vindex").read_bytes() == (tmp_path / "two" / "s.vindex").read_bytes()


def test_the_fingerprint_is_the_models(taken, tiny_vindex):
    query = "SELECT value FROM model WHERE key = 'fingerprint'"
    assert taken("attention").execute(query).fetchall() == rows(tiny_vindex, query)


def test_the_index_of_another_slice_is_not_used(tiny_vindex, tmp_path):
    path = tmp_path / "s.vindex"
    for wanted, expected in ((["gates"], MissingPart), (["ffn"], None)):
        path.unlink(missing_ok=True)
        write_slice(tiny_vindex, path, wanted)
        with closing(larqldb.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM vec.gates").fetchone() == (5 * 67,)
            if expected is not None:
                with pytest.raises(expected):
                    connection.execute("SELECT count(*) FROM vec.downs")
            else:
                assert connection.execute("SELECT count(*) FROM vec.downs").fetchone() == (5 * 67,)


def test_all_parts_are_the_whole(taken, tiny_vindex):
    connection = taken("browse", *NETWORK)
    held = {key for (key,) in connection.execute("SELECT key FROM model")}
    assert not held & {"parts", "lacks", "sliced_from"}
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        if table != "seal":
            query = f"SELECT * FROM {table}"
            assert set(connection.execute(query).fetchall()) == set(rows(tiny_vindex, query)), table


@pytest.mark.parametrize("family", ["phi3", "gpt2", "gemma3", "llama_biases"])
def test_browsing_and_inference_are_the_wholes(family, tmp_path):
    larqldb.extract(write_tiny(tmp_path / "model", family=family), tmp_path / "whole.vindex")
    whole = tmp_path / "whole.vindex"
    write_slice(whole, tmp_path / "browse.vindex", ["browse"])
    write_slice(whole, tmp_path / "network.vindex", NETWORK)
    for query in ('DESCRIBE "Paris"', PURE, "SHOW FEATURES 3", "SHOW ENTITIES", "SHOW LAYERS"):
        assert rows(tmp_path / "browse.vindex", query) == rows(whole, query)
    assert rows(tmp_path / "network.vindex", f'INFER "{PROMPT}" TOP 3') == rows(whole, f'INFER "{PROMPT}" TOP 3')
    assert problems(tmp_path / "browse.vindex") == problems(tmp_path / "network.vindex") == []


@pytest.mark.parametrize(
    ("wanted", "statement", "needed", "again"),
    [
        (("browse",), f'INFER "{PROMPT}"', "attention weights", "browse parts and more"),
        (("attention",), 'DESCRIBE "Paris"', "knowledge, features, gates, embeddings", "all of them"),
        (("knowledge",), "SHOW FEATURES 2", "the part features", "knowledge,features"),
        (("features",), "SELECT * FROM edges", "the part knowledge", "knowledge,features"),
        (("features",), "SELECT count(*) FROM edge_records", "the part knowledge", "knowledge,features"),
        (("features",), "SHOW ENTITIES", "the part knowledge", "knowledge,features"),
        (("ffn:2-3",), f'WALK "{PROMPT}"', "features, embeddings", "ffn:2-3"),
        (("ffn:2-3",), "SELECT * FROM gate_match('Paris')", "embed_tokens", "embeddings,ffn:2-3"),
        (("gates", "embeddings"), "SELECT * FROM down_match('Paris')", "down", "gates,embeddings,ffn"),
        (("gates",), "SELECT count(*) FROM vec.downs", "down", "gates,ffn"),
    ],
)
def test_a_statement_says_which_part_it_needs_and_how_to_get_it(taken, wanted, statement, needed, again):
    with pytest.raises(MissingPart) as failure:
        taken(*wanted).execute(statement).fetchall()
    assert needed in str(failure.value)
    assert "larqldb slice tiny.vindex --parts " in str(failure.value)
    if "," in again:
        assert f"--parts {again} " in str(failure.value)


def test_following_the_advice_works(taken):
    with pytest.raises(MissingPart) as failure:
        taken("attention").execute('DESCRIBE "Paris"').fetchall()
    words = str(failure.value).split()
    again = words[words.index("--parts") + 1].split(",")
    assert taken(*again).execute('DESCRIBE "Paris"').description is not None


def test_the_verb_is_the_users_own_and_mistakes_stay_mistakes(taken):
    connection = taken("embeddings")
    with pytest.raises(MissingPart, match=r"^SHOW needs"):
        connection.execute("SHOW ENTITIES")
    with pytest.raises(ProgrammingError, match="no such column"):
        connection.execute("SELECT noth FROM model")
    assert connection.execute("SELECT count(*) FROM tokens").fetchone()[0] > 0
    assert dict(connection.execute("STATS").fetchall())["sliced_from"] == "tiny.vindex"


def operation(network, **changes):
    vector = np.ones(network.hidden, np.float32)
    plain = {"layer": 3, "feature": network.ffn, "entity": "Atlantis", "relation": "capital", "target": "Paris"}
    return Operation("insert", **{**plain, "gate": vector, "up": vector, "down": vector, **changes})


@pytest.fixture
def edited(tiny_vindex):
    """The tiny vindex with a fact inserted and a feature of its own removed."""
    with closing(larqldb.connect(tiny_vindex)) as connection:
        db, model = connection.database, connection.session.model
        edits.add_patch(db, "myths", model["fingerprint"])
        edits.write(db, "myths", [operation(connection.session.network)])
        layer, feature = db.execute("SELECT layer, feature FROM edge_records LIMIT 1").fetchone()
        edits.write(db, "myths", [Operation("delete", layer=layer, feature=feature)])
        edits.show(db)
    return tiny_vindex


def test_edits_come_along_when_they_are_asked_for(edited, taken):
    with closing(larqldb.connect(edited)) as whole:
        expected = whole.session.runner.logits([1, 2, 3])
        edges = whole.execute("SELECT * FROM edges").fetchall()
        base = whole.session.base_runner.logits([1, 2, 3])
    with_edits, without = taken("edits", "knowledge", *NETWORK), taken("knowledge", *NETWORK)
    assert np.array_equal(with_edits.session.runner.logits([1, 2, 3]), expected)
    assert with_edits.execute("SELECT * FROM edges").fetchall() == edges
    assert without.session.live.edits == Edits() or not without.session.live.edits
    assert np.array_equal(without.session.runner.logits([1, 2, 3]), base)
    assert without.execute("SELECT count(*) FROM edges WHERE source = 'insert'").fetchone() == (0,)
    assert len(without.execute("SELECT * FROM edges").fetchall()) == len(edges)  # one less, and one no longer hidden


def test_a_later_edit_of_a_slice_gets_a_number_of_its_own(edited, tmp_path):
    with closing(larqldb.connect(edited)) as connection:
        connection.execute("DELETE FROM patch_ops")
        connection.commit()
    write_slice(edited, tmp_path / "s.vindex", ["edits", *NETWORK])
    with closing(larqldb.connect(tmp_path / "s.vindex")) as connection:
        assert edits.write(connection.database, "myths", [operation(connection.session.network)]) == 3


def test_a_slice_of_a_slice(taken, tmp_path):
    taken("browse", "ffn:1-3").close()
    half = tmp_path / "slice0.vindex"
    smaller = taken("features", "ffn:2", source=half)
    assert dict(smaller.execute("STATS").fetchall())["sliced_from"] == "tiny.vindex"
    for wanted in ("attention", "ffn", "ffn:3-4"):
        with pytest.raises(MissingPart, match=r"larqldb slice tiny\.vindex"):
            write_slice(half, tmp_path / "no.vindex", [wanted])
    assert not (tmp_path / "no.vindex").exists()


def test_a_source_of_a_lower_level_says_what_it_lacks(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "b.vindex", level="browse")
    write_slice(tmp_path / "b.vindex", tmp_path / "ok.vindex", ["browse"])
    with pytest.raises(MissingPart, match="larqldb extract"):
        write_slice(tmp_path / "b.vindex", tmp_path / "no.vindex", ["attention"])
    assert [path.name for path in tmp_path.iterdir() if "no" in path.name] == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["brows"], "Did you mean browse"),
        (["zzz"], "There are: browse"),
        ([""], "There are"),
        ([], "no part is named"),
        (["knowledge:1-2"], "not apart by layers"),
        (["ffn:3-9"], "layers 0-4"),
        (["ffn:3-2"], "layers 0-4"),
        (["ffn:1-2", "ffn:3"], "named twice"),
        (["ffn:a"], "There are|Did you mean"),
    ],
)
def test_parts_that_there_are_not(tiny_vindex, tmp_path, wanted, message):
    with pytest.raises(ProgrammingError, match=message):
        write_slice(tiny_vindex, tmp_path / "no.vindex", wanted)
    assert not (tmp_path / "no.vindex").exists()


def test_an_output_that_exists_stays(tiny_vindex, tmp_path):
    there = tmp_path / "there.vindex"
    there.write_text("mine")
    with pytest.raises(OutputExists):
        write_slice(tiny_vindex, there, ["browse"])
    assert there.read_text() == "mine"


def test_a_full_disk_leaves_nothing(tiny_vindex, tmp_path, monkeypatch):
    def fail(*_):
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr("larqldb.compile.slices.copy_migration_times", fail)
    with pytest.raises(OutputFailed, match="full"):
        write_slice(tiny_vindex, tmp_path / "no.vindex", ["browse"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.vindex"]


def test_every_table_is_placed(tiny_vindex):
    """A new table belongs to a part, or to all slices: whoever adds one decides."""
    everywhere = {"files", "layers", "tokens", "relations", "relation_templates", "facts", "aliases"}
    everywhere |= {"walk_budgets", "walk_measurement"}
    with closing(open_database(tiny_vindex)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    placed = {table for tables in parts.TABLES.values() for table in tables} | OWN | everywhere
    assert {name for name in names if not name.startswith("sqlite_")} == placed


LAYERS = st.one_of(
    st.just(""), st.integers(0, 8).map(":{}".format), st.tuples(*[st.integers(0, 8)] * 2).map(":{0[0]}-{0[1]}".format)
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*parts.TABLES, *parts.GROUPS]), LAYERS).map("".join), max_size=5))
def test_what_is_parsed_reads_the_same_again(texts):
    try:
        found = parts.parse(texts, 8)
    except ProgrammingError:
        return
    assert parts.parse(map(str, found), 8) == found
    assert all(isinstance(part, Part) for part in found)


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=3))
def test_any_text_is_parts_or_no_part(texts):
    with suppress(ProgrammingError):
        assert parts.parse(texts, 3)


def test_the_command(tiny_vindex, tmp_path):
    from click.testing import CliRunner

    from larqldb.cli.slice import slice_command

    target = tmp_path / "small.vindex"
    arguments = [str(tiny_vindex), "--parts", "browse,ffn:1-2", "-o", str(target), "--json"]
    done = CliRunner().invoke(slice_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    told = json.loads(done.output)
    assert told[0] == {
        "what": "vindex",
        "where": str(target),
        "how_many": told[0]["how_many"],
        "bytes": target.stat().st_size,
    }
    assert [row["where"] for row in told if row["what"] == "left out"] == ["attention", "ffn:0", "ffn:3-4"]
