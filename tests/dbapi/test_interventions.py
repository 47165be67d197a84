"""capture, logit_lens, ablate, steer and patch, against a model whose weights were changed instead."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import larqldb
from larqldb.errors import BadPrompt, MissingPart, ProgrammingError
from tests.tiny import write_tiny

PROMPT = "The capital of France is"
OTHER = "The capital of Italy is"
LAYERS, HEADS, HEAD_DIM, HIDDEN, FFN, VOCAB = 5, 5, 8, 40, 67, 400


@pytest.fixture
def conn(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        yield connection


def ids_of(conn, prompt=PROMPT):
    return conn.session.tokenizer.encode(prompt)


def logits(conn, prompt=PROMPT):
    return conn.session.runner.logits(ids_of(conn, prompt))


def answers(conn, prompt=PROMPT):
    return conn.execute("SELECT token, probability FROM infer(?, 400)", (prompt,)).fetchall()


@pytest.fixture
def edited(tmp_path):
    """A function from a change of the tiny model's tensors to the logits of the model so changed."""

    def logits_of(change):
        folder = write_tiny(tmp_path / "edited")
        tensors = {name: array.astype(np.float32) for name, array in load_file(folder / "model.safetensors").items()}
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        larqldb.extract(folder, tmp_path / "edited.vindex")
        with closing(larqldb.connect(tmp_path / "edited.vindex")) as connection:
            return logits(connection)

    return logits_of


def test_shapes(conn):
    s = len(ids_of(conn))
    wide = {"residual", "attention", "ffn", "ffn_input"}
    expected = {
        **dict.fromkeys(wide, (LAYERS, s, HIDDEN)),
        "activations": (LAYERS, s, FFN),
        "heads": (LAYERS, s, HEADS, HEAD_DIM),
        "queries": (LAYERS, s, HEADS, HEAD_DIM),
        "keys": (LAYERS, s, 1, HEAD_DIM),
        "values": (LAYERS, s, 1, HEAD_DIM),
        "attention_weights": (LAYERS, HEADS, s, s),
        "embedding": (s, HIDDEN),
    }
    seen = conn.capture(PROMPT, what=list(expected))
    assert {kind: array.shape for kind, array in seen.items()} == expected
    assert {array.dtype for array in seen.values()} == {np.dtype(np.float32)}
    assert conn.capture(PROMPT, [3, 1]).shape == (2, s, HIDDEN)
    assert np.array_equal(conn.capture(PROMPT, [3, 1])[1], conn.capture(PROMPT, 1)[0])


def test_token_ids_stand_for_themselves(conn):
    assert np.array_equal(conn.capture(ids_of(conn), 2), conn.capture(PROMPT, 2))


def test_weights_times_values_is_what_heads_read(conn):
    seen = conn.capture(PROMPT, what=["attention_weights", "values", "heads"])
    values = np.repeat(seen["values"], HEADS, axis=2)
    read = np.einsum("lhns,lshd->lnhd", seen["attention_weights"], values)
    assert np.abs(read - seen["heads"]).max() < 1e-5
    assert np.triu(seen["attention_weights"][0, 0], 1).max() == 0


def test_the_lens_after_the_last_layer_is_the_networks_answer(conn):
    read = conn.logit_lens(PROMPT)
    assert read.shape == (LAYERS, 1, VOCAB)
    assert np.abs(read[-1, 0] - logits(conn)).max() < 1e-4
    assert conn.logit_lens(PROMPT, 2, [0, -1]).shape == (1, 2, VOCAB)


def test_ablating_features_is_zeroing_their_rows(conn, edited):
    def zero(tensors):
        tensors["model.layers.2.mlp.down_proj.weight"][:, [3, 40]] = 0

    expected = edited(zero)
    with conn.ablate(layer=2, features=[3, 40]):
        got = logits(conn)
    assert np.abs(got - logits(conn)).max() > 1e-2
    assert np.abs(got - expected).max() < 1e-4


def test_ablating_heads_is_zeroing_their_columns(conn, edited):
    def zero(tensors):
        tensors["model.layers.1.self_attn.o_proj.weight"][:, 2 * HEAD_DIM : 3 * HEAD_DIM] = 0

    expected = edited(zero)
    with conn.ablate(layer=1, heads=[2]):
        assert np.abs(logits(conn) - expected).max() < 1e-4


def test_interventions_act_on_statements_and_end(conn):
    before, explained = answers(conn), conn.execute(f'EXPLAIN INFER "{PROMPT}" LAYERS 3-3 TOP 67').fetchall()
    silenced = [row[2] for row in explained[:5]]
    with conn.ablate(layer=3, features=silenced):
        assert answers(conn) != before
        rows = conn.execute(f'EXPLAIN INFER "{PROMPT}" LAYERS 3-3 TOP 67').fetchall()
        assert {row[2] for row in rows if row[5] == 0} == set(silenced)
        assert (conn.capture(PROMPT, 3, "activations")[0][:, silenced] == 0).all()
        assert conn.execute("SELECT token FROM trace(?) LIMIT 1", (PROMPT,)).fetchone()[0] == answers(conn)[0][0]
    assert answers(conn) == before
    assert conn.execute(f'EXPLAIN INFER "{PROMPT}" LAYERS 3-3 TOP 67').fetchall() == explained


def test_blocks_add_up_and_end_in_order(conn):
    plain = logits(conn)
    with conn.ablate(layer=2, features=[3]):
        one = logits(conn)
        with conn.ablate(layer=2, features=[40]):
            both = logits(conn)
        assert np.array_equal(logits(conn), one)
    with conn.ablate(layer=2, features=[3, 40]):
        assert np.abs(logits(conn) - both).max() < 1e-5
    assert np.array_equal(logits(conn), plain)


def test_an_error_inside_the_block_ends_it(conn):
    plain = logits(conn)
    with pytest.raises(ZeroDivisionError), conn.ablate(layer=0, heads=[0]):
        raise ZeroDivisionError
    assert np.array_equal(logits(conn), plain)


def test_a_block_cannot_end_before_one_inside_it(conn):
    outer, inner = conn.ablate(layer=0, heads=[0]), conn.ablate(layer=0, heads=[1])
    with outer, inner:
        with pytest.raises(ProgrammingError, match="reverse order"):
            outer.__exit__(None, None, None)
        with pytest.raises(ProgrammingError, match="active already"):
            inner.__enter__()


def test_other_connections_are_not_changed(conn, tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as other, conn.ablate(layer=2, features=range(FFN)):
        assert answers(other) != answers(conn)


def test_steering_adds_to_the_residual(conn):
    vector = np.random.default_rng(1).standard_normal(HIDDEN).astype(np.float32)
    before = conn.capture(PROMPT, what=("residual", "ffn"))
    with conn.steer(2, vector, 0.5):
        after = conn.capture(PROMPT, what=("residual", "ffn"))
    assert np.array_equal(after["residual"][:2], before["residual"][:2])
    assert np.abs(after["residual"][2] - before["residual"][2] - 0.5 * vector).max() < 1e-5
    assert np.array_equal(after["ffn"][2], before["ffn"][2])
    assert not np.allclose(after["residual"][3], before["residual"][3])


def test_steering_towards_a_token_makes_it_the_answer(smollm2_vindex):
    with closing(larqldb.connect(smollm2_vindex, read_only=True)) as connection:
        session = connection.session
        berlin, paris = session.embedding(session.tokenizer.encode(" Berlin Paris", special=False))
        vector = (berlin - paris) * session.norm("final_norm", None)
        with connection.steer(29, vector / np.linalg.norm(vector), 200):
            assert answers(connection)[0][0] == " Berlin"
        assert answers(connection)[0][0] == " Paris"


def test_patching_the_whole_last_residual_gives_the_sources_answer(conn):
    patched = conn.patch(OTHER, PROMPT, LAYERS - 1)
    assert np.abs(patched.logits - logits(conn, OTHER)).max() < 1e-4
    assert np.array_equal(patched.source_logits, logits(conn, OTHER))
    assert np.array_equal(patched.target_logits, logits(conn))
    assert [token for token, _ in patched.top(3)] == [token for token, _ in answers(conn, OTHER)[:3]]


@pytest.mark.parametrize("what", ["residual", "attention", "ffn", "activations", "heads"])
def test_patching_from_the_same_prompt_changes_nothing(conn, what):
    every = range(len(ids_of(conn)))
    patched = conn.patch(PROMPT, PROMPT, None, every, what)
    assert np.abs(patched.logits - logits(conn)).max() < 1e-4


def test_patching_some_heads_is_part_of_patching_all(conn):
    plain = logits(conn)
    some = conn.patch(OTHER, PROMPT, 1, what="heads", heads=[0, 3]).logits
    rest = conn.patch(OTHER, PROMPT, 1, what="heads", heads=[1, 2, 4]).logits
    every = conn.patch(OTHER, PROMPT, 1, what="heads").logits
    assert np.abs(conn.patch(OTHER, PROMPT, 1, what="heads", heads=range(5)).logits - every).max() == 0
    assert len({array.tobytes() for array in (plain, some, rest, every)}) == 4


def test_patching_features_puts_their_activations_there(conn):
    """The FFN's output moves by the difference of activations times the down rows."""
    down, features = conn.session.matrix("down", 4), [5, 9]
    last = conn.capture(PROMPT, 4, "residual")[0, -1]
    source, target = (conn.capture(prompt, 4, "activations")[0, -1] for prompt in (OTHER, PROMPT))
    moved = last + (source - target)[features] @ down[features]
    patched = conn.patch(OTHER, PROMPT, 4, what="activations", features=features)
    assert np.abs(patched.logits - conn.session.runner.head(moved[None])[0]).max() < 1e-3


def test_positions_may_differ(conn):
    patched = conn.patch("Paris", PROMPT, LAYERS - 1, -1, source_positions=0)
    first = conn.session.runner.logits(ids_of(conn, "Paris")[:1])
    assert np.abs(patched.logits - first).max() < 1e-4


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: c.capture(""), BadPrompt, "the prompt is empty"),
        (lambda c: c.capture([]), BadPrompt, "the prompt is empty"),
        (lambda c: c.capture([400]), BadPrompt, "token id 400 is not in the model's vocabulary of 400"),
        (lambda c: c.capture("a b " * 100), BadPrompt, "reads at most 128"),
        (lambda c: c.capture("a", 5), ProgrammingError, "there is no layer 5: this vindex holds layers 0-4"),
        (lambda c: c.capture("a", []), ProgrammingError, "at least one layer"),
        (lambda c: c.capture("a", 1, "logits"), ProgrammingError, "what 'logits' is not one of embedding, residual"),
        (lambda c: c.logit_lens("a", 1, 7), ProgrammingError, "there is no position 7"),
        (lambda c: c.logit_lens("a", 1, []), ProgrammingError, "at least one position"),
        (lambda c: c.ablate(layer=1), ProgrammingError, "needs features or heads"),
        (lambda c: c.ablate(layer=-1, heads=[0]), ProgrammingError, "there is no layer -1"),
        (lambda c: c.ablate(layer=1, features=[67]), ProgrammingError, "there is no feature 67: a layer has .* 0-66"),
        (lambda c: c.ablate(layer=1, heads=[5]), ProgrammingError, "there is no head 5"),
        (lambda c: c.steer(1, np.ones(39)), ProgrammingError, r"shape \[39\], this model's are \[40\]"),
        (lambda c: c.steer(1, np.full(40, np.nan)), ProgrammingError, "not finite"),
        (lambda c: c.patch("a", "b", 1, what="keys"), ProgrammingError, "what 'keys' is not one of residual"),
        (lambda c: c.patch("a", "b", 1, [0], source_positions=[0, 0]), ProgrammingError, "2 source positions for 1"),
        (lambda c: c.patch("a", "b", 1, heads=[1]), ProgrammingError, "heads with what='heads'"),
    ],
)
def test_refusals(conn, call, error, words):
    with pytest.raises(error, match=words):
        call(conn)


def test_a_closed_connection_refuses(tiny_vindex):
    connection = larqldb.connect(tiny_vindex)
    connection.close()
    with pytest.raises(ProgrammingError, match="the connection is closed"):
        connection.capture(PROMPT)


def test_a_file_without_the_network_refuses(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "browse.vindex", level="browse")
    with closing(larqldb.connect(tmp_path / "browse.vindex")) as connection:
        for call in (lambda: connection.capture(PROMPT), lambda: connection.steer(1, np.ones(HIDDEN))):
            with pytest.raises(MissingPart, match="which this vindex does not hold"):
                call()


def test_patching_reaches_every_part_of_a_long_prompt(conn, monkeypatch):
    """A prompt that runs in parts of four positions."""
    whole = conn.patch(OTHER, PROMPT, 2, range(1, 5)).logits
    monkeypatch.setattr("larqldb.model.runner.CHUNK", 4)
    assert np.abs(conn.patch(OTHER, PROMPT, 2, range(1, 5)).logits - whole).max() < 1e-4
