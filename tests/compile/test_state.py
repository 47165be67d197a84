"""What a model with its edits consists of: on a small model of every family, it says what the live one says."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.compile.state import bake, widened
from larqldb.errors import BadPatch, CannotCompile
from larqldb.model.architectures import resolve
from larqldb.model.runner import Runner
from larqldb.storage import edits
from larqldb.storage.edits import Operation
from tests.compile.making import HIDDEN, IDS, LAST, OWN, add, divergence, remove
from tests.tiny import write_tiny


def apart(connection, made):
    """KL between the live network and the compiled one."""
    live = connection.session.runner.all_logits(IDS)
    return divergence(live, Runner(made.network, made.weights, threads=1).all_logits(IDS))


def test_without_edits_it_is_the_base(conn):
    made = bake(conn.session)
    assert (made.network, made.grown, made.slots) == (conn.session.network, False, {})
    assert made.config == conn.session.files("config.json")["config.json"]
    assert not any(made.changes(tensor) for tensor in conn.session.store.tensors())


def test_added_features_grow_all_layers_to_a_multiple_of_32(conn):
    add(conn, 3, OWN, seed=1)
    add(conn, LAST, OWN + 1, seed=2)
    add(conn, LAST, OWN, seed=3)
    remove(conn, 0, 5)
    made = bake(conn.session)
    assert made.network.ffn == 96
    assert made.slots[LAST].places == (OWN, OWN + 1)
    assert apart(conn, made) < 1e-6
    assert resolve(json.loads(made.config)) == made.network
    for tensor in conn.session.store.tensors():
        array = made.read(tensor)
        assert array.shape == made.shape(tensor)
        assert made.changes(tensor) or array.tobytes() == conn.session.store.read(tensor).tobytes()


def test_what_fits_the_slots_of_removed_features_stands_there(conn):
    for feature in (2, 40, 66):
        remove(conn, LAST, feature)
    add(conn, LAST, OWN, seed=1)
    made = bake(conn.session)
    assert not made.grown
    assert made.slots[LAST].places == (2,)
    assert not made.weights("down", LAST)[[40, 66]].any()
    assert apart(conn, made) < 1e-6


def test_slots_are_given_up_where_that_is_asked_for(conn):
    add(conn, LAST, OWN, seed=1)
    add(conn, LAST, OWN + 1, seed=2)
    remove(conn, LAST, 9)
    made = bake(conn.session, lambda layer, count: [11, 12, 13][:count])
    assert not made.grown
    assert (made.slots[LAST].places, made.slots[LAST].given_up) == ((9, 11), (11,))


def test_rows_looked_up_by_key_cannot_be_compiled(conn):
    vector = np.ones(HIDDEN, np.float32)
    edits.add_patch(conn.database, "p", str(conn.session.model["fingerprint"]))
    row = Operation(
        "insert_knn", layer=1, entity="Atlantis", relation="capital", target="Paris", least_cosine=0.9,
        gate=vector, down=vector,
    )  # fmt: skip
    edits.write(conn.database, "p", [row])
    with pytest.raises(CannotCompile, match="COMPACT MINOR"):
        bake(conn.session)


def test_a_patch_for_another_model_is_refused(conn):
    edits.add_patch(conn.database, "p", "0" * 64)
    add(conn, LAST, OWN)
    with pytest.raises(BadPatch, match="another model"):
        bake(conn.session)


def test_numbers_that_bfloat16_cannot_hold_stay_float32(tmp_path):
    larqldb.extract(write_tiny(tmp_path / "model"), tmp_path / "m.vindex")
    with closing(larqldb.connect(tmp_path / "m.vindex")) as conn:
        conn.execute("BEGIN")
        add(conn, LAST, OWN)
        made = bake(conn.session)
        dtypes = {tensor.name: made.dtype(tensor) for tensor in conn.session.store.tensors()}
        floats = {name for name, dtype in dtypes.items() if dtype == "F32"}
        assert floats == {f"model.layers.4.mlp.{name}_proj.weight" for name in ("gate", "up", "down")}
        assert apart(conn, made) < 1e-6


def test_the_width_stands_where_the_model_says_it():
    assert json.loads(widened(b'{"model_type": "gpt2", "n_inner": null}', 64)) == {"model_type": "gpt2", "n_inner": 64}
    outer = {"model_type": "gemma3", "text_config": {"intermediate_size": 8}, "x": 1}
    assert json.loads(widened(json.dumps(outer).encode(), 64))["text_config"] == {"intermediate_size": 64}
