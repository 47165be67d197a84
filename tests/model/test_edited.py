"""A network with edits, against one whose weights are those edits."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import larqldb
from larqldb.model.edited import AddedFeature, Edits, KeyRow, Overlay, added_name, by_layer, edited, layer_rows
from tests.tiny import write_tiny

IDS = [60, 61, 62, 63, 64]
FAMILIES = ("llama", "gemma3", "gpt2", "llama_biases")


class Tiny:
    """A tiny model's folder and a connection to its vindex."""

    def __init__(self, folder, family="llama", **settings):
        self.folder = write_tiny(folder / "model", family=family, dtype=np.float32)
        larqldb.extract(self.folder, folder / "tiny.vindex")
        self.conn = larqldb.connect(folder / "tiny.vindex", **settings)
        self.runner = self.conn.session.runner
        self.network = self.runner.network
        self.rng = np.random.default_rng(7)

    def vector(self):
        return self.rng.standard_normal(self.network.hidden).astype(np.float32)

    def feature(self, layer):
        return AddedFeature(layer, self.vector(), self.vector() if self.network.gated else None, self.vector())


@pytest.fixture
def tiny(tmp_path, request):
    made = Tiny(tmp_path, getattr(request, "param", "llama"))
    yield made
    made.conn.close()


every_family = pytest.mark.parametrize("tiny", FAMILIES, indirect=True)


def test_no_edits_are_the_base_itself(tiny):
    assert edited(tiny.runner, Edits()) is tiny.runner


def test_added_features_are_those_of_a_wider_ffn(tiny, tmp_path):
    added = [tiny.feature(layer) for layer in (1, 1, 3)]
    folder = write_tiny(tmp_path / "wide", dtype=np.float32, intermediate_size=69)
    tensors = load_file(tiny.folder / "model.safetensors")
    for layer in range(5):
        mine = [feature for feature in added if feature.layer == layer]
        rows = mine + [AddedFeature(layer, *np.zeros((3, 40), np.float32))] * (2 - len(mine))
        for part, axis in (("gate", 0), ("up", 0), ("down", 1)):
            name = f"model.layers.{layer}.mlp.{part}_proj.weight"
            extra = np.stack([getattr(row, part) for row in rows])
            tensors[name] = np.concatenate([tensors[name], extra if axis == 0 else extra.T], axis=axis)
    save_file(tensors, folder / "model.safetensors")
    larqldb.extract(folder, tmp_path / "wide.vindex")
    wide = larqldb.connect(tmp_path / "wide.vindex")
    expected = wide.session.runner.all_logits(IDS)
    wide.close()
    assert np.abs(edited(tiny.runner, Edits(tuple(added))).all_logits(IDS) - expected).max() < 1e-4


@every_family
def test_removed_features_are_silent(tiny):
    ours = edited(tiny.runner, Edits(removed=((2, 5), (2, 9), (4, 0)))).logits(IDS)
    with tiny.conn.ablate(layer=2, features=[5, 9]), tiny.conn.ablate(layer=4, features=[0]):
        assert np.array_equal(tiny.conn.session.runner.logits(IDS), ours)
    assert np.abs(ours - tiny.runner.logits(IDS)).max() > 0


@every_family
def test_an_added_feature_that_writes_nothing_changes_nothing(tiny):
    feature = tiny.feature(2)
    silent = AddedFeature(2, feature.gate, feature.up, np.zeros_like(feature.down))
    assert np.array_equal(edited(tiny.runner, Edits((silent,))).logits(IDS), tiny.runner.logits(IDS))


def test_a_feature_added_and_its_opposite_cancel(tiny):
    feature = tiny.feature(3)
    opposite = AddedFeature(3, feature.gate, feature.up, -feature.down)
    both = edited(tiny.runner, Edits((feature, opposite))).logits(IDS)
    assert np.abs(both - tiny.runner.logits(IDS)).max() < 1e-5


def test_a_row_is_taken_where_its_key_is_near(tiny):
    seen = tiny.conn.capture(IDS, 2, "ffn_input")[0]  # [s, hidden]
    value = tiny.vector()
    near = edited(tiny.runner, Edits(rows=(KeyRow(2, 3 * seen[-1], value, 0.99),)))
    residuals = [runner.changed(lambda _: None, {}, expose=["layers.2.residual"]).observe(IDS)["layers.2.residual"]
                 for runner in (tiny.runner, near)]  # fmt: skip
    difference = residuals[1] - residuals[0]
    assert np.abs(difference[-1] - value).max() < 1e-5
    assert not difference[:-1].any()
    far = edited(tiny.runner, Edits(rows=(KeyRow(2, -seen[-1], value, 0.5),)))
    assert np.array_equal(far.logits(IDS), tiny.runner.logits(IDS))


def test_of_rows_with_one_key_the_last_counts(tiny):
    key, first, last = tiny.vector(), tiny.vector(), tiny.vector()
    rows = (KeyRow(2, key, first, -1.0), KeyRow(2, key, last, -1.0))
    assert layer_rows(rows, 2) == [rows[1]]
    both, alone = (edited(tiny.runner, Edits(rows=some)).logits(IDS) for some in (rows, rows[1:]))
    assert np.array_equal(both, alone)


@every_family
def test_every_way_of_reading_agrees(tiny):
    edits = Edits((tiny.feature(1), tiny.feature(3)), ((2, 5),), (KeyRow(2, tiny.vector(), tiny.vector(), -1.0),))
    runner = edited(tiny.runner, edits)
    whole = runner.all_logits(IDS)
    decoder = runner.decoder()
    stepwise = [decoder.read([token]).copy() for token in IDS]
    assert np.abs(np.stack(stepwise) - whole).max() < 1e-4
    assert np.abs(runner.batch([IDS, IDS[:2]]) - whole[[4, 1]]).max() < 1e-4


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_edits_are_exact_beside_rounded_weights(tmp_path, precision):
    tiny = Tiny(tmp_path, precision=precision)
    feature = tiny.feature(4)
    runner = edited(tiny.runner, Edits((feature,)))
    names = ["layers.4.ffn_input", "layers.4.residual"]
    seen, base = (one.changed(lambda _: None, {}, expose=names).observe(IDS) for one in (runner, tiny.runner))
    x = seen[names[0]].astype(np.float64)
    gate = x @ feature.gate
    written = (gate / (1 + np.exp(-gate)) * (x @ feature.up))[:, None] * feature.down
    assert np.abs(seen[names[1]] - base[names[1]] - written).max() < 1e-4
    tiny.conn.close()


def test_more_features_in_the_same_layers_need_no_new_graph(tiny):
    one = edited(tiny.runner, Edits((tiny.feature(2),)))
    two = edited(tiny.runner, Edits((tiny.feature(2), tiny.feature(2))))
    assert one.session is two.session


def test_what_a_runner_exposes_stays_exposed(tiny):
    looking = tiny.runner.changed(lambda _: None, {}, expose=["layers.3.ffn_input"])
    assert list(edited(looking, Edits((tiny.feature(2),))).observe(IDS)) == ["layers.3.ffn_input"]


@every_family
def test_the_overlay_does_what_the_graph_does(tiny):
    edits = Edits((tiny.feature(2), tiny.feature(2)), ((2, 5),), (KeyRow(2, tiny.vector(), tiny.vector(), -1.0),))
    names = ["attention_output", "ffn_output", "activations", "ffn_unnormed"]
    kinds = names if tiny.network.post_norms else names[:3]
    expose = ["layers.1.residual", "layers.2.residual", *(f"layers.2.{kind}" for kind in kinds)]
    graph = edited(tiny.runner, edits).changed(lambda _: None, {}, expose=[*expose, added_name(2)]).observe(IDS)
    base = tiny.runner.changed(lambda _: None, {}, expose=expose).observe(IDS)
    session = tiny.conn.session
    overlay = Overlay(tiny.network, by_layer(tiny.network, edits), session.entering)
    activations = base["layers.2.activations"].copy()
    overlay.silence(2, activations)
    assert np.array_equal(activations, graph["layers.2.activations"])
    residual = base["layers.1.residual"] + base["layers.2.attention_output"]
    assert np.abs(overlay.look(2, residual) - graph[added_name(2)]).max() < 1e-4
    written, kept = np.zeros_like(residual), residual.copy()
    assert overlay.add(2, residual, written) == 2 * len(IDS)
    assert written.any()
    assert np.abs(residual - kept - edits.rows[0].value).max() < 1e-5
