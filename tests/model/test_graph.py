from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from larqldb.model import graph
from larqldb.model.architectures import tensors
from larqldb.model.network import NORMS
from larqldb.model.rotary import tables


def feeds(tiny) -> dict[str, np.ndarray]:
    """Everything the graph reads that does not depend on the prompt."""
    network, width = tiny.network, graph.cache_width(tiny.network.head_dim)
    arrays = {}
    for role, layer in ((role, slot.layer) for slot in tensors(network) for role in slot.layout.roles):
        offset = network.norm_offset if role in NORMS else 0
        arrays[graph.weight_name(role, layer)] = tiny.weights(role, layer) + np.float32(offset)
    for index, rotary in enumerate(network.rotaries):
        arrays[f"cos.{index}"], arrays[f"sin.{index}"] = tables(rotary, network.head_dim, 128, width)
    return arrays


def empty_cache(tiny, batch: int) -> dict[str, np.ndarray]:
    network = tiny.network
    empty = np.zeros((batch, network.kv_heads, 0, graph.cache_width(network.head_dim)), np.float32)
    return {f"past.layers.{layer}.{part}": empty for layer in range(network.layers) for part in ("key", "value")}


def session(tiny) -> ort.InferenceSession:
    model = graph.build(tiny.network).SerializeToString()
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_the_cache_carries_a_prompt_on(tiny):
    run, constant, past = session(tiny), feeds(tiny), empty_cache(tiny, 1)
    got, start = [], 0
    for stop in (17, 18, 40, len(tiny.ids)):
        outputs = run.run(
            None,
            {
                "ids": np.array([tiny.ids[start:stop]]),
                "wanted": np.arange(stop - start)[None],
                "last": np.array([stop - 1], np.int32),
                "total": np.array(stop, np.int32),
                **constant,
                **past,
            },
        )
        named = dict(zip([output.name for output in run.get_outputs()], outputs, strict=True))
        got.append(named["logits"][0])
        past = {name: named[name.replace("past", "present")] for name in past}
        start = stop
    assert np.abs(np.concatenate(got) - tiny.recorded_logits).max() < 2e-4


def test_prompts_of_different_lengths_run_as_one_batch(tiny):
    lengths = (len(tiny.ids), 23)
    ids = np.zeros((2, max(lengths)), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = tiny.ids[:length]  # padded on the right
    logits = session(tiny).run(
        ["logits"],
        {
            "ids": ids,
            "wanted": np.array([[length - 1] for length in lengths]),
            "last": np.array(lengths, np.int32) - 1,
            "total": np.array(max(lengths), np.int32),
            **feeds(tiny),
            **empty_cache(tiny, 2),
        },
    )[0]
    expected = tiny.recorded_logits[[length - 1 for length in lengths]]
    assert np.abs(logits[:, 0] - expected).max() < 2e-4


def test_exposed_results_have_their_shapes_and_add_up(tiny):
    network = tiny.network
    seen = tiny.runner(expose=graph.observable(network)).observe(tiny.ids)
    positions, last = len(tiny.ids), network.layers - 1
    assert set(seen) == set(graph.observable(network))
    assert seen[f"layers.{last}.activations"].shape == (positions, network.ffn)
    assert seen[f"layers.{last}.ffn_input"].shape == (positions, network.hidden)
    assert seen["head_input"].shape == (1, network.hidden)
    total = seen["embedding"].astype(np.float64)
    for layer in range(network.layers):
        total += seen[f"layers.{layer}.attention_output"] + seen[f"layers.{layer}.ffn_output"]
        assert np.abs(total - seen[f"layers.{layer}.residual"]).max() < 1e-4


def test_exposing_changes_no_logit(tiny):
    everything = tiny.runner(expose=graph.observable(tiny.network))
    assert np.abs(everything.logits(tiny.ids) - tiny.runner().logits(tiny.ids)).max() < 2e-5


@pytest.mark.parametrize(("head_dim", "width"), [(2, 16), (14, 16), (16, 16), (18, 32), (64, 64), (80, 80), (100, 112)])
def test_cache_width(head_dim, width):
    assert graph.cache_width(head_dim) == width


def test_the_graph_holds_no_weights(tiny):
    assert len(graph.build(tiny.network).SerializeToString()) < 60_000
