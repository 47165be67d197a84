"""Patches: edits that go together, as rows and as files; stacked, taken out, carried to another vindex."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import load_file

import larqldb
from larqldb.errors import BadPatch, OutputExists, OutputFailed, PatchNotFound, ProgrammingError
from tests.edit.saying import SAYS, insert, logits
from tests.tiny import write_tiny


def patches(conn):
    return [row[:3] for row in conn.execute("SHOW PATCHES").fetchall()]


def edges(conn):
    return conn.execute("SELECT entity, target FROM edges WHERE source = 'insert' ORDER BY 1").fetchall()


@pytest.fixture
def other(tiny_extracted, tmp_path):
    """Another vindex of the same model."""
    with closing(larqldb.connect(shutil.copy(tiny_extracted, tmp_path / "other.vindex"))) as connection:
        yield connection


@pytest.fixture
def saved(conn, tmp_path):
    """A patch with a fact of each kind and a removed feature, saved."""
    path = tmp_path / "myths.vlp"
    conn.execute(f'BEGIN PATCH "{path}"')
    insert(conn)
    insert(conn, "Gondor", "New York", "CONFIDENCE 0.25")
    insert(conn, "Narnia", "Paris", "MODE KNN")
    conn.execute("DELETE FROM EDGES WHERE layer = 2 AND feature = 5")
    conn.execute("SAVE PATCH")
    conn.commit()
    return path


def test_the_steps(conn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = logits(conn)
    assert conn.execute('BEGIN PATCH "myths.vlp"').fetchall() == [("patch", "myths.vlp", 0, None)]
    insert(conn)
    one = logits(conn)
    assert patches(conn) == [("myths.vlp", 1, 1)]
    ((what, where, count, size),) = conn.execute("SAVE PATCH").fetchall()
    assert (what, where, count, size) == ("patch", "myths.vlp", 1, (tmp_path / "myths.vlp").stat().st_size)
    insert(conn, "Gondor", "Berlin")
    assert [name for name, *_ in patches(conn)] == ["myths.vlp", "edits"]
    conn.execute('REMOVE PATCH "edits"')
    assert np.array_equal(logits(conn), one)
    conn.execute('REMOVE PATCH "myths.vlp"')
    assert np.array_equal(logits(conn), base)
    assert edges(conn) == []
    conn.execute("APPLY PATCH 'myths.vlp'")
    assert np.array_equal(logits(conn), one)
    assert patches(conn)[-1] == ("myths.vlp", 1, 1)


def test_applied_to_another_vindex_it_is_the_same_bit_for_bit(conn, other, saved):
    prompts = [SAYS, "The capital of Gondor is", "The capital of Narnia is", "Mozart"]
    before = [logits(other, prompt) for prompt in prompts]
    ((what, where, *_),) = other.execute(f'APPLY PATCH "{saved}"').fetchall()
    assert (what, where) == ("patch", "myths.vlp")
    assert all(np.array_equal(logits(conn, prompt), logits(other, prompt)) for prompt in prompts)
    assert edges(other) == edges(conn) == [("Atlantis", "Paris"), ("Gondor", "New York"), ("Narnia", "Paris")]
    assert other.execute("SELECT confidence FROM edges WHERE entity = 'Gondor'").fetchall() == [(0.25,)]
    other.execute("REMOVE PATCH 'myths'")
    assert all(np.array_equal(logits(other, prompt), old) for prompt, old in zip(prompts, before, strict=True))


def test_features_are_numbered_anew_where_taken(other, saved):
    insert(other, "Mordor", "Berlin")
    alone = logits(other)
    other.execute(f'APPLY PATCH "{saved}"')
    numbers = other.execute("SELECT layer, feature FROM patch_ops WHERE down IS NOT NULL AND feature > 66").fetchall()
    assert len(set(numbers)) == len(numbers)
    other.execute('REMOVE PATCH "myths.vlp"')
    assert np.array_equal(logits(other), alone)


def test_patches_stack_in_order(conn, saved, tmp_path):
    one = logits(conn)
    conn.execute(f'BEGIN PATCH "{tmp_path / "more.vlp"}"')
    conn.execute("DELETE FROM EDGES WHERE entity = 'Atlantis'")
    two = logits(conn)
    assert edges(conn) == [("Gondor", "New York"), ("Narnia", "Paris")]
    conn.execute("SAVE PATCH")
    conn.execute("REMOVE PATCH 'more.vlp'")
    assert np.array_equal(logits(conn), one)
    conn.execute("APPLY PATCH 'more.vlp'")
    assert np.array_equal(logits(conn), two)


def test_a_deletion_travels_with_what_it_deletes(conn, other, saved, tmp_path):
    conn.execute(f'BEGIN PATCH "{tmp_path / "less.vlp"}"')
    conn.execute("UPDATE EDGES SET target = 'Berlin' WHERE entity = 'Atlantis'")
    conn.execute("SAVE PATCH")
    other.execute(f'APPLY PATCH "{saved}"')
    other.execute(f'APPLY PATCH "{tmp_path / "less.vlp"}"')
    assert np.array_equal(logits(conn), logits(other))
    assert edges(other)[0] == ("Atlantis", "Berlin")


def test_conflicts_are_reported(other, saved, tmp_path):
    insert(other, "Atlantis", "Berlin")
    rows = other.execute(f'APPLY PATCH "{saved}"').fetchall()
    assert rows[1:] == [("conflict", "Atlantis capital: Paris here, Berlin in edits", 1, None)]


def test_what_is_to_be_undone_but_not_there(conn, other, saved, tmp_path):
    conn.execute(f'BEGIN PATCH "{tmp_path / "less.vlp"}"')
    conn.execute("DELETE FROM EDGES WHERE entity = 'Atlantis'")
    conn.execute("SAVE PATCH")
    rows = other.execute(f'APPLY PATCH "{tmp_path / "less.vlp"}"').fetchall()
    assert ("conflict", "Atlantis capital Paris: to be taken out, but not there", 1, None) in rows


def test_a_default_patch_can_be_saved_under_a_name(conn, other, tmp_path):
    insert(conn)
    conn.execute(f"SAVE PATCH '{tmp_path / 'mine'}'")
    other.execute(f"APPLY PATCH '{tmp_path / 'mine'}'")
    assert np.array_equal(logits(conn), logits(other))


def test_the_file_is_safetensors_with_its_schema(saved):
    tensors = load_file(saved)
    assert {array.dtype.name for array in tensors.values()} == {"float32"}
    data = saved.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    header = json.loads(metadata["header"])
    assert (metadata["format"], metadata["version"]) == ("larqldb patch", "1")
    assert header["operations"][0]["entity"] == "Atlantis"
    assert header["operations"][-1] == {"operation": "delete", "fact": len(header["operations"]) - 1, "layer": 2,
                                        "feature": 5}  # fmt: skip


def test_saving_again_replaces_the_same_patch_only(conn, saved, tmp_path):
    conn.execute(f"SAVE PATCH '{saved}'")
    (tmp_path / "text.vlp").write_text("mine")
    with pytest.raises(OutputExists):
        conn.execute(f"SAVE PATCH '{tmp_path / 'text.vlp'}'")
    assert (tmp_path / "text.vlp").read_text() == "mine"
    with pytest.raises(OutputFailed):
        conn.execute(f"SAVE PATCH '{tmp_path / 'nowhere' / 'a.vlp'}'")


def test_a_folder_that_is_not_there(conn, tmp_path):
    conn.execute(f'BEGIN PATCH "{tmp_path / "missing" / "a.vlp"}"')
    conn.execute("DELETE FROM EDGES WHERE layer = 0 AND feature = 1")
    with pytest.raises(larqldb.OperationalError, match=r"there is no folder .*missing\. Make it first"):
        conn.execute("SAVE PATCH")


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.999])
def test_a_file_cut_short(other, saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(BadPatch, match="no patch file, or cut short"):
        other.execute(f'APPLY PATCH "{saved}"')
    assert patches(other) == []
    assert not other.in_transaction


@pytest.mark.parametrize(("old", "new"), [(b"Atlantis", b"Atlanta!"), (b"0.25", b"0.75")])
def test_a_file_edited_by_hand(other, saved, old, new):
    saved.write_bytes(saved.read_bytes().replace(old, new))
    with pytest.raises(BadPatch, match="changed after it was saved"):
        other.execute(f'APPLY PATCH "{saved}"')


def test_a_vector_edited_by_hand(other, saved):
    data = bytearray(saved.read_bytes())
    data[-3] ^= 1
    saved.write_bytes(data)
    with pytest.raises(BadPatch, match="changed after it was saved"):
        other.execute(f'APPLY PATCH "{saved}"')


def test_another_model_is_refused(saved, tmp_path):
    larqldb.extract(write_tiny(tmp_path / "model", seed=9), tmp_path / "foreign.vindex")
    with closing(larqldb.connect(tmp_path / "foreign.vindex")) as foreign:
        with pytest.raises(BadPatch, match="made for another model"):
            foreign.execute(f'APPLY PATCH "{saved}"')
        assert patches(foreign) == []


def test_names_that_do_not_fit(conn, saved, tmp_path):
    with pytest.raises(ProgrammingError, match="in effect already"):
        conn.execute(f'APPLY PATCH "{saved}"')
    with pytest.raises(ProgrammingError, match="already: choose another name"):
        conn.execute(f'BEGIN PATCH "{saved}"')
    with pytest.raises(ProgrammingError, match="did you mean"):
        conn.execute(f'REMOVE PATCH "{saved}s"')
    with pytest.raises(PatchNotFound):
        conn.execute(f'APPLY PATCH "{tmp_path / "nothing.vlp"}"')
    conn.execute('BEGIN PATCH "open.vlp"')
    with pytest.raises(ProgrammingError, match="is open"):
        conn.execute('BEGIN PATCH "second.vlp"')
    with pytest.raises(ProgrammingError, match="is open"):
        conn.execute('APPLY PATCH "second.vlp"')
    conn.rollback()
    conn.execute('BEGIN PATCH "second.vlp"')


def test_nothing_to_save(conn):
    with pytest.raises(ProgrammingError, match="no patch to save"):
        conn.execute("SAVE PATCH")


def test_rollback_undoes_what_was_applied(other, saved):
    before = logits(other)
    other.execute(f'APPLY PATCH "{saved}"')
    other.rollback()
    assert np.array_equal(logits(other), before)
    assert patches(other) == []


def test_killed_while_saving(conn, saved):
    before = saved.read_bytes()
    code = f"""
import os, larqldb
from larqldb.storage import new_file
conn = larqldb.connect({conn.path!r})
new_file.os = type("os", (), dict(getpid=os.getpid, fsync=lambda _: os.kill(os.getpid(), 9)))
conn.execute({f"SAVE PATCH '{saved}'"!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert saved.read_bytes() == before


# Files of the reference system


def coded(vector):
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def reference(path, operations):
    facts = {"version": 1, "base_model": "tiny", "base_checksum": None, "created_at": "2026-04-01T12:00:00Z",
             "description": "made elsewhere", "author": "someone", "tags": []}  # fmt: skip
    path.write_text(json.dumps({**facts, "operations": operations}))
    return path


def test_the_references_operations_act(conn, tmp_path):
    rng = np.random.default_rng(3)
    gate, up, down = rng.standard_normal((3, 40)).astype(np.float32)
    path = reference(tmp_path / "theirs.vlp", [
        {"op": "insert", "layer": 3, "feature": 12, "entity": "John", "relation": "lives-in", "target": "Paris",
         "confidence": 0.85, "gate_vector_b64": coded(gate), "up_vector_b64": coded(up),
         "down_vector_b64": coded(down)},
        {"op": "insert", "layer": 3, "feature": 13, "entity": "Jane", "target": "Rome", "gate_vector_b64": coded(gate)},
        {"op": "insert", "layer": 3, "feature": 14, "entity": "Jim", "target": "Rome"},
        {"op": "delete", "layer": 2, "feature": 5, "reason": "wrong"},
        {"op": "update", "layer": 1, "feature": 7, "down_vector_b64": coded(down)},
        {"op": "insert_knn", "layer": 4, "entity": "Atlantis", "relation": "capital", "target": "Paris", "target_id": 1,
         "confidence": 1.0, "key_vector_b64": coded(gate)},
        {"op": "delete_knn", "entity": "Nobody"},
    ])  # fmt: skip
    rows = conn.execute(f'APPLY PATCH "{path}"').fetchall()
    assert [row[1].partition(":")[0] for row in rows[1:]] == ["Jim", "Nobody"]
    live = conn.session.live
    assert live.edits.removed == ((1, 7), (2, 5))
    first, second, changed = live.edits.added
    assert np.array_equal(first.gate, gate)
    assert np.array_equal(first.up, up)
    assert np.array_equal(first.down, down)
    assert abs(second.up @ gate / np.linalg.norm(second.up) / np.linalg.norm(gate) - 1) < 1e-5
    assert np.array_equal(changed.gate, conn.session.matrix("gate", 1)[7])
    assert np.array_equal(changed.down, down)
    assert len(live.edits.rows) == 1
    assert ("John", "Paris") in edges(conn)
    conn.execute("REMOVE PATCH 'theirs.vlp'")
    assert not conn.session.live.edits


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"op": "call", "layer": 1}, "'call' is not one that larqldb knows"),
        ({"op": "delete", "layer": 1}, "it has no feature"),
        ({"op": "delete", "layer": 9, "feature": 1}, "no layer 9"),
        ({"op": "delete", "layer": "1", "feature": 1}, "its layer is '1'"),
        ({"op": "update", "layer": 1, "feature": 1, "gate_vector_b64": "???"}, "not base64"),
        ({"op": "update", "layer": 1, "feature": 1, "gate_vector_b64": coded(np.ones(41))}, "not 40 finite numbers"),
        ({"op": "update", "layer": 1, "feature": 1, "up_vector_b64": coded(np.full(40, np.nan))}, "not 40 finite"),
    ],
)
def test_operations_that_cannot_be_used(conn, tmp_path, operation, words):
    path = reference(tmp_path / "theirs.vlp", [operation])
    with pytest.raises(BadPatch, match=words):
        conn.execute(f'APPLY PATCH "{path}"')
    assert patches(conn) == []


@pytest.mark.parametrize("text", ["{", "{}", '{"operations": 3}', '{"operations": [3]}'])
def test_json_that_is_no_patch(conn, tmp_path, text):
    path = tmp_path / "theirs.vlp"
    path.write_text(text)
    with pytest.raises(BadPatch):
        conn.execute(f'APPLY PATCH "{path}"')
