"""Facts are asked of the weights as they are rounded; where one is lost, its layer is kept in a finer type."""

from __future__ import annotations

from contextlib import closing

import gguf
import numpy as np
import pytest

import larqldb
from larqldb.compile import facts
from larqldb.compile.encoding import Encoding
from larqldb.compile.model_files import compile_model
from larqldb.compile.outcomes import EXACT, NOT_ASKED
from larqldb.compile.state import bake
from larqldb.extract.sources import open_source
from larqldb.model.architectures import tensors
from larqldb.storage import edits
from larqldb.storage.edits import Operation
from tests.compile.making import IDS, LAST
from tests.tiny import write_tiny

WIDE = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 8, "num_key_value_heads": 2}
PROMPT, TARGET = "The capital of Atlantis is", "Paris"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A small model whose rows can be held in blocks."""
    folder = tmp_path_factory.mktemp("wide")
    larqldb.extract(write_tiny(folder / "model", dtype=np.float32, **WIDE), folder / "m.vindex")
    return folder / "m.vindex"


@pytest.fixture
def told(wide):
    """A connection to it with features of the last layer that make it answer a fact, in a transaction."""
    with closing(larqldb.connect(wide)) as connection:
        connection.execute("BEGIN")
        session = connection.session
        target = session.tokenizer.encode(f" {TARGET}", special=False)
        head, known, group = session.head, session.tokenizer.encode(PROMPT), []
        for place, token in enumerate(target):
            seen = session.base_runner.changed(lambda _: None, {}, expose=[f"layers.{LAST}.ffn_input"])
            x = seen.observe(known)[f"layers.{LAST}.ffn_input"][-1]
            down = head[token] * (200 / (30 * np.linalg.norm(head[token])))
            group.append(
                Operation(
                    "insert",
                    layer=LAST,
                    feature=64 + place,
                    entity="Atlantis",
                    relation="capital",
                    target=TARGET,
                    gate=30 * x / (x @ x),
                    up=x / (x @ x),
                    down=down.astype(np.float32),
                )
            )
            known.append(token)
        edits.add_patch(connection.database, "p", str(session.model["fingerprint"]))
        edits.write(connection.database, "p", group)
        yield connection
        connection.rollback()


def types(path):
    """The types of the last layer's features in a GGUF file, and of those of another."""
    found = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    return [{found[f"blk.{layer}.ffn_{name}.weight"] for name in ("gate", "up", "down")} for layer in (LAST, 0)]


def test_a_fact_that_survives_is_said_to(told, tmp_path):
    rows = compile_model(told.session, tmp_path / "m.gguf", quant="q8_0")
    (fact,) = [row for row in rows if row.what == "fact"]
    assert (fact.where, fact.how_many, fact.note) == ("Atlantis capital Paris", 1, facts.ANSWERED)
    assert fact.probability > 0.9
    assert types(tmp_path / "m.gguf") == [{"Q8_0"}, {"Q8_0"}]


def test_a_fact_that_would_be_lost_keeps_its_layer_in_a_finer_type(told, tmp_path, monkeypatch):
    answers = iter([(0.1, False), (0.2, False), (0.9, True)])
    monkeypatch.setattr(facts, "_read", lambda *_: next(answers))
    rows = compile_model(told.session, tmp_path / "m.gguf", quant="q4_0")
    assert types(tmp_path / "m.gguf") == [{"F16"}, {"Q4_0"}]
    assert "layer 4 are kept in F16: Q4_0 would lose a fact" in rows[0].note
    assert (rows[1].how_many, rows[1].probability) == (1, 0.9)
    assert "kept in F16, because Q4_0 loses it" in rows[1].note


@pytest.mark.parametrize(("live", "note"), [(True, "lost in rounding to Q4_1"), (False, "not what the vindex answers")])
def test_a_fact_that_cannot_be_kept_is_said_to_be_lost(told, tmp_path, monkeypatch, live, note):
    answers = iter([*[(0.1, False)] * 4, (0.5, live)])
    monkeypatch.setattr(facts, "_read", lambda *_: next(answers))
    rows = compile_model(told.session, tmp_path / "m.gguf", quant="q4_1")
    assert rows[1][:3] == ("fact", "Atlantis capital Paris", 0)
    assert note in rows[1].note
    assert types(tmp_path / "m.gguf") == [{"Q4_1"}, {"Q4_1"}]


def test_facts_are_asked_after_features_were_given_up(told, tmp_path):
    rows = compile_model(told.session, tmp_path / "out", slots="replace", texts=lambda: [IDS])
    (fact,) = [row for row in rows if row.what == "fact"]
    assert (fact.how_many, fact.note) == (1, facts.ANSWERED)


def test_nothing_is_asked_where_nothing_is_rounded_or_nobody_wants_it(told, tmp_path):
    told.reports = False
    for clauses, note in (("QUANT F32", EXACT), ("QUANT Q8_0", NOT_ASKED)):
        path = str(tmp_path / f"{clauses[-2:]}.gguf")
        rows = told.execute(f"COMPILE CURRENT INTO MODEL ? {clauses}", (path,)).fetchall()
        assert rows[-1] == ("fact", "Atlantis capital Paris", None, None, None, note)


def test_what_is_asked_is_what_is_read_back(told, tmp_path):
    """The weights that facts are asked of are those that reading the file gives."""
    model = bake(told.session)
    compile_model(told.session, tmp_path / "m.gguf", quant="q4_1", ask=False)
    asked = facts._Rounded(model, Encoding("Q4_1", "F32"))
    with open_source(tmp_path / "m.gguf") as source:
        for slot in tensors(model.network):
            made = asked(slot.role, slot.layer)
            assert np.array_equal(made.T if slot.role == "down" else made, source.read(slot.name)), slot.name
