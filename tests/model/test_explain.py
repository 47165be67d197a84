"""Attention weights, shares of a logit, the lens and changes, on a small model of every family."""

from __future__ import annotations

import numpy as np
import pytest

from larqldb.model import explain
from larqldb.model.interventions import Add, Replace, Scale, changed, one_by_one
from larqldb.model.network import NORMS
from larqldb.model.observe import Observer, attention_weights, lens, log_probabilities


@pytest.fixture
def last(tiny):
    """Everything at the last position, and the keys and values of all."""
    network, ids = tiny.network, tiny.ids
    kinds = ["queries", "heads", "attention_output", "ffn_output", "residual", "activations", "ffn_input"]
    if network.post_norms:
        kinds += ["attention_unnormed", "ffn_unnormed"]
    every = range(network.layers)
    names = ["embedding", *(f"layers.{layer}.{kind}" for layer in every for kind in kinds)]
    cached = [f"layers.{layer}.{kind}" for layer in every for kind in ("keys", "values")]
    return Observer(tiny.runner()).run(ids, range(len(ids) - 1, len(ids)), at=names, everywhere=cached)


def norm(tiny, role, layer):
    return tiny.weights(role, layer) + np.float32(tiny.network.norm_offset if role in NORMS else 0)


def test_weights_times_values_is_what_heads_read(tiny):
    network, positions = tiny.network, range(len(tiny.ids))
    kinds = ("queries", "keys", "values", "heads")
    names = [f"layers.{layer}.{kind}" for layer in range(network.layers) for kind in kinds]
    seen = Observer(tiny.runner()).run(tiny.ids, positions, everywhere=names)
    for layer in range(network.layers):
        queries, keys, values, heads = (seen[f"layers.{layer}.{kind}"] for kind in kinds)
        weights = attention_weights(network, layer, queries, keys, positions)
        assert np.abs(weights.sum(axis=2) - 1).max() < 1e-5
        shared = values.reshape(len(tiny.ids), network.kv_heads, network.head_dim)
        shared = np.repeat(shared, network.heads // network.kv_heads, axis=1)
        read = np.einsum("hns,shd->nhd", weights, shared).reshape(heads.shape)
        assert np.abs(read - heads).max() < 1e-5 * max(1, np.abs(heads).max())
        through = read @ tiny.weights("attn_o", layer).T
        one = attention_weights(network, layer, queries[-1:], keys, range(len(tiny.ids) - 1, len(tiny.ids)))
        assert np.abs(one[:, 0] - weights[:, -1]).max() < 1e-6
        assert through.shape == (len(tiny.ids), network.hidden)


def test_shares_sum_to_the_logit(tiny, last):
    network, token = tiny.network, int(tiny.recorded_logits[-1].argmax())
    residual = last[f"layers.{network.layers - 1}.residual"][0]
    unembedding = tiny.weights("embed" if network.tied else "head", None)[token]
    direction = explain.direction(network, residual, norm(tiny, "final_norm", None), unembedding)
    total = float(last["embedding"][0] @ direction)
    positions = range(len(tiny.ids) - 1, len(tiny.ids))
    for layer in range(network.layers):

        def part(kind, layer=layer):
            return last[f"layers.{layer}.{kind}"]

        towards = {"attention": direction, "ffn": direction}
        if network.post_norms:
            for block, role in (("attention", "post_attn_norm"), ("ffn", "post_ffn_norm")):
                weight = norm(tiny, role, layer)
                towards[block] = explain.through_norm(network, direction, part(f"{block}_unnormed")[0], weight)
        weights = attention_weights(network, layer, part("queries"), part("keys"), positions)[:, 0]
        seen = explain.head_towards(network, tiny.weights("attn_o", layer), towards["attention"])
        heads = explain.read_shares(network, weights, part("values"), seen)
        features = explain.feature_shares(part("activations")[0], tiny.weights("down", layer), towards["ffn"])
        total += float(heads.sum() + features.sum())
        for role, block in (("attn_o_bias", "attention"), ("down_bias", "ffn")):
            if network.has(role):
                total += float(tiny.weights(role, layer) @ towards[block])
    assert abs(total - float(residual @ direction)) < 1e-3
    if network.has("final_norm_bias"):
        total += float(tiny.weights("final_norm_bias", None) @ unembedding)
    capped = total if network.final_softcap is None else network.final_softcap * np.tanh(total / network.final_softcap)
    assert abs(capped - tiny.recorded_logits[-1, token]) < 1e-3


def test_the_lens_reads_the_last_residual_as_the_network_does(tiny, last):
    network, runner = tiny.network, tiny.runner()
    logits = tiny.recorded_logits[-1]
    order = np.argsort(-logits, kind="stable")
    residual = last[f"layers.{network.layers - 1}.residual"]
    read = lens(runner, np.repeat(residual, 3, axis=0), order[[0, 4, 9]], log_probabilities(logits))
    assert read.rank.tolist() == [1, 5, 10]
    assert read.top.tolist() == [order[0]] * 3
    assert np.allclose(read.probability, np.exp(log_probabilities(logits))[order[[0, 4, 9]]], rtol=1e-3)
    assert np.abs(read.kl).max() < 1e-5


def test_changes_are_what_they_say(tiny):
    network, ids = tiny.network, tiny.ids[:20]
    name, width = "layers.1.residual", network.hidden
    runner, every = tiny.runner(), range(20)
    plain = Observer(runner).run(ids, every, everywhere=[name])[name]
    vector = np.linspace(-1, 1, width, dtype=np.float32)
    where = np.zeros((20, width), np.bool_)
    where[7, : width // 2] = True
    changes = [
        Scale(name, 2 * np.ones(width, np.float32)),
        Add(name, vector),
        Replace(name, where, np.zeros_like(plain)),
    ]
    seen = Observer(changed(runner, changes)).run(ids, every, everywhere=[name])[name]
    expected = np.where(where, 0, 2 * plain + vector)
    assert np.abs(seen - expected).max() < 1e-5
    assert np.array_equal(Observer(runner).run(ids, every, everywhere=[name])[name], plain)


def test_replacements_one_by_one_are_those_alone(tiny):
    network, ids = tiny.network, tiny.ids[:12]
    where = np.zeros((12, network.hidden), np.bool_)
    where[5] = True
    each = [Replace(f"layers.{layer}.ffn_output", where, where.astype(np.float32)) for layer in range(network.layers)]
    runner = tiny.runner()
    for change, alone in zip(each, one_by_one(runner, each), strict=True):
        assert np.abs(alone.logits(ids) - changed(runner, [change]).logits(ids)).max() < 1e-5


def test_positions_asked_about_are_those_given(tiny, monkeypatch):
    """Also where the prompt runs in parts."""
    ids, name = tiny.ids[:30], "layers.0.residual"
    whole = Observer(tiny.runner()).run(ids, range(30), everywhere=[name])[name]
    monkeypatch.setattr("larqldb.model.runner.CHUNK", 8)
    some = Observer(tiny.runner()).run(ids, range(5, 19), at=[name])[name]
    assert np.abs(some - whole[5:19]).max() < 1e-5
