"""Everything that reads a model, on a small one of every family: extracted, browsed, run, explained and taken apart."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import load_file

import larqldb
from larqldb.model.architectures import resolve, tensors
from larqldb.model.runner import Runner
from larqldb.storage.checksums import verify
from larqldb.storage.database import open_database
from larqldb.storage.tensors import TensorStore
from tests.tiny import FAMILIES, write_tiny

PROMPT = "The capital of France is"
LAYERS, FEATURES = 5, 67


class Model:
    """A family's small model: its directory, what is in it, and the vindex made of it."""

    def __init__(self, family, folder):
        self.config = FAMILIES[family]
        self.network = resolve(self.config)
        self.source = write_tiny(folder / "model", family=family)
        self.tensors = load_file(self.source / "model.safetensors")
        self.path = folder / "m.vindex"
        larqldb.extract(self.source, self.path)

    def weights(self, role, layer):
        """Straight from the model's own file, not from the vindex."""
        slot = next(slot for slot in tensors(self.network) if slot.layer == layer and role in slot.layout.roles)
        part = slot.layout.part(self.tensors[slot.name], role)
        return np.ascontiguousarray(part.T if role == "down" else part)


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def model(request, tmp_path_factory):
    return Model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def conn(model):
    with closing(larqldb.connect(model.path, read_only=True)) as connection:
        yield connection


@pytest.fixture(scope="module")
def logits(model):
    """Of the token after the prompt, by the model's own file."""
    with closing(larqldb.connect(model.path, read_only=True)) as connection:
        ids = connection.session.tokenizer.encode(PROMPT)
    return Runner(model.network, model.weights, threads=1).logits(ids)


def test_every_tensor_is_stored_once_and_comes_back_byte_for_byte(model):
    with closing(open_database(model.path, read_only=True)) as db:
        assert list(verify(db)) == []
        store = TensorStore(db)
        stored = {tensor.name: store.read(tensor) for tensor in store.tensors()}
        held = db.execute(
            "SELECT (SELECT total(length(data)) FROM tensor_chunks) + (SELECT "
            "total(length(gate) + coalesce(length(up), 0) + length(down)) FROM feature_vectors)"
        ).get
    assert stored.keys() == model.tensors.keys()
    for name, array in model.tensors.items():
        assert (stored[name].dtype, stored[name].shape) == (array.dtype, array.shape)
        assert np.ascontiguousarray(stored[name]).tobytes() == array.tobytes(), name
    assert held == sum(array.nbytes for array in model.tensors.values())


def test_roles_are_those_of_the_model(model):
    with closing(open_database(model.path, read_only=True)) as db:
        store = TensorStore(db)
        for slot in tensors(model.network):
            for role in slot.layout.roles:
                expected = model.weights(role, slot.layer)
                read = store.weights(role, slot.layer)
                assert np.array_equal(read, expected), role
                found = store.find(role, slot.layer)
                assert found.shape == model.network.shape(role)
                assert found.name == slot.name


def test_a_feature_is_a_row(model, conn):
    rows = conn.execute("SELECT gate, up, down FROM feature_vectors WHERE layer = 3 AND feature = 41").fetchall()
    norms = conn.execute(
        "SELECT gate_norm, up_norm, down_norm FROM features WHERE layer = 3 AND feature = 41"
    ).fetchone()
    for vector, norm, role in zip(rows[0], norms, ("gate", "up", "down"), strict=True):
        if role == "up" and not model.network.gated:
            assert (vector, norm) == (None, None)
            continue
        expected = model.weights(role, 3)[41]
        assert vector == expected.tobytes()
        assert norm == pytest.approx(float(np.linalg.norm(expected.astype(np.float64))), rel=1e-5)


def test_infer_is_the_model(model, conn, logits):
    rows = conn.execute("SELECT token_id, probability FROM infer(?, 5)", (PROMPT,)).fetchall()
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    assert [token for token, _ in rows] == np.argsort(-logits, kind="stable")[:5].tolist()
    assert np.allclose([probability for _, probability in rows], odds[[token for token, _ in rows]], atol=1e-5)
    batch = conn.execute(
        "SELECT token_id FROM infer_batch(json_array(?, 'Mozart was born in'), 1) ORDER BY position", (PROMPT,)
    ).fetchall()
    assert batch[0][0] == rows[0][0]


def test_generation_is_greedy_search(model, conn, logits):
    session = conn.session
    ids = session.tokenizer.encode(PROMPT)
    runner = Runner(model.network, model.weights, threads=1)
    expected = []
    for _ in range(8):
        expected.append(int(runner.logits(ids + expected).argmax()))
    made = "".join(conn.generate(PROMPT, max_tokens=8, ignore_eos=True))
    text = session.tokenizer.decode(ids + expected)[len(session.tokenizer.decode(ids)) :]
    assert made == text.rstrip("\ufffd")  # bytes that make no letter yet


@pytest.mark.parametrize("mode", ["hybrid", "pure", "dense"])
def test_walk(model, conn, mode):
    rows = conn.execute("SELECT layer, rank, gate, activation, contribution, token FROM walk(?, 7, ?)", (PROMPT, mode))
    found = rows.fetchall()
    assert [(row[0], row[1]) for row in found] == [(layer, rank + 1) for layer in range(LAYERS) for rank in range(7)]
    assert all(isinstance(value, float) for row in found for value in row[2:5])
    measure = 2 if mode == "pure" else 4
    for layer in range(LAYERS):
        sizes = [abs(row[measure]) for row in found if row[0] == layer]
        assert sizes == sorted(sizes, reverse=True)


def test_hybrid_is_dense_but_for_rounding(model):
    with closing(larqldb.connect(model.path, read_only=True, walk=1.0)) as conn:
        seen = {
            mode: {
                (layer, feature): (gate, activation)
                for layer, feature, gate, activation in conn.execute(
                    "SELECT layer, feature, gate, activation FROM walk(?, ?, ?)", (PROMPT, FEATURES, mode)
                )
            }
            for mode in ("hybrid", "dense")
        }
        assert seen["hybrid"].keys() == seen["dense"].keys()
        for column in range(2):
            both = np.array([(seen["hybrid"][key][column], seen["dense"][key][column]) for key in seen["dense"]])
            assert np.corrcoef(both.T)[0, 1] > 0.97
        walked, dense = (conn.execute("SELECT kl FROM infer(?, 1, 'walk', 1)", (PROMPT,)).fetchall() for _ in range(2))
        assert walked == dense


def test_everything_sums_to_the_logit(model, conn, logits):
    features = conn.execute("SELECT sum(logit) FROM explain_infer(?, 1000)", (PROMPT,)).fetchone()[0]
    heads = conn.execute("SELECT sum(logit) FROM attention_heads(?)", (PROMPT,)).fetchone()[0]
    rows = conn.execute(
        "SELECT embedding, attn, ffn, residual FROM trace(?, NULL, 1) ORDER BY layer", (PROMPT,)
    ).fetchall()
    cap, logit = model.network.final_softcap, float(logits.max())
    before = logit if cap is None else cap * np.arctanh(logit / cap)
    table = np.array(rows)
    assert abs(table[0, 0] + heads + features - before) < 1e-3
    assert abs(table[-1, 3] - before) < 1e-3
    assert np.abs(table[:, 0] + np.cumsum(table[:, 1] + table[:, 2]) - table[:, 3]).max() < 1e-4
    by_layer = conn.execute("SELECT sum(logit) FROM explain_infer(?, 1000) GROUP BY layer ORDER BY layer", (PROMPT,))
    assert np.allclose(np.array(by_layer.fetchall())[:, 0], table[:, 2], atol=1e-4)
    by_layer = conn.execute("SELECT sum(logit) FROM attention_heads(?) GROUP BY layer ORDER BY layer", (PROMPT,))
    assert np.allclose(np.array(by_layer.fetchall())[:, 0], table[:, 1], atol=1e-4)


def test_a_bias_is_a_row_of_its_own(model, conn):
    rows = conn.execute(
        "SELECT layer, rank, token FROM explain_infer(?, 3) WHERE feature IS NULL", (PROMPT,)
    ).fetchall()
    assert rows == [(layer, 4, None) for layer in range(LAYERS) if "down" in model.network.biases]
    rows = conn.execute("SELECT layer, weight FROM attention_heads(?) WHERE head IS NULL", (PROMPT,)).fetchall()
    assert rows == [(layer, None) for layer in range(LAYERS) if "attn_o" in model.network.biases]


def test_capture_and_change(model, conn, logits):
    hidden = model.network.hidden
    count = len(conn.session.tokenizer.encode(PROMPT))
    kinds = ("embedding", "attention", "ffn", "residual")
    seen = {kind: conn.capture(PROMPT, None, kind) for kind in kinds}
    assert seen["residual"].shape == (LAYERS, count, hidden)
    total = seen["embedding"] + np.cumsum(seen["attention"] + seen["ffn"].astype(np.float64), axis=0)
    assert np.abs(total - seen["residual"]).max() < 1e-4 * max(1, np.abs(seen["residual"]).max())
    weights = conn.capture(PROMPT, None, "attention_weights")
    assert np.allclose(weights.sum(-1), 1, atol=1e-5)
    lens = conn.logit_lens(PROMPT, LAYERS - 1, positions=-1)
    assert np.abs(lens.reshape(-1) - logits).max() < 2e-4
    with conn.ablate(layer=2, features=range(FEATURES), heads=[0, 1]):
        assert np.abs(conn.session.runner.logits(conn.session.tokenizer.encode(PROMPT)) - logits).max() > 1e-3


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_fewer_bits(model, precision, logits):
    with closing(larqldb.connect(model.path, read_only=True, precision=precision)) as conn:
        ids = conn.session.tokenizer.encode(PROMPT)
        packed = conn.session.runner.logits(ids)
        assert np.corrcoef(packed, logits)[0, 1] > (0.99 if precision == "int8" else 0.5)
        assert len(conn.execute("SELECT * FROM explain_infer(?, 2)", (PROMPT,)).fetchall()) >= 2 * LAYERS


def test_browsing(model, conn):
    assert conn.execute('DESCRIBE "France" VERBOSE').description is not None
    assert len(conn.execute("SELECT * FROM gate_match('France', 3, 2)").fetchall()) == 3
    names = {relation for (relation,) in conn.execute("SELECT DISTINCT relation FROM edges")}
    assert names <= {"associates"}


def test_at_level_browse(model, tmp_path):
    larqldb.extract(model.source, tmp_path / "browse.vindex", level="browse")
    with closing(larqldb.connect(tmp_path / "browse.vindex")) as conn:
        assert len(conn.execute("SELECT * FROM walk(?, 3)", (PROMPT,)).fetchall()) == 3 * LAYERS
        assert len(conn.execute("SELECT * FROM gate_match('France', 3, 2)").fetchall()) == 3
        assert conn.execute('DESCRIBE "France"').description is not None
        with pytest.raises(larqldb.Error, match="--level inference"):
            conn.execute(f'INFER "{PROMPT}"').fetchall()
    with closing(open_database(tmp_path / "browse.vindex", read_only=True)) as db:
        assert list(verify(db)) == []
