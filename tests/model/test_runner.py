from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from larqldb.errors import BadPrompt, BadTensor
from larqldb.model.runner import Runner

TOLERANCE = 2e-4


def test_logits_equal_transformers_at_every_position(tiny):
    logits = tiny.runner().all_logits(tiny.ids)
    assert logits.dtype == np.float32
    assert logits.shape == tiny.recorded_logits.shape
    assert np.abs(logits - tiny.recorded_logits).max() < TOLERANCE
    assert (logits.argmax(-1) == tiny.recorded_logits.argmax(-1)).all()


def test_last_position_alone(tiny):
    logits = tiny.runner().logits(tiny.ids)
    assert logits.shape == (tiny.network.vocab,)
    assert np.abs(logits - tiny.recorded_logits[-1]).max() < TOLERANCE


def test_a_shorter_prompt_gives_the_earlier_positions(tiny):
    assert np.abs(tiny.runner().all_logits(tiny.ids[:7]) - tiny.recorded_logits[:7]).max() < TOLERANCE


def test_a_prompt_in_chunks_gives_the_same(tiny, monkeypatch):
    expose = ["layers.1.residual", "head_input"]
    whole = tiny.runner(expose).observe(tiny.ids)
    monkeypatch.setattr("larqldb.model.runner.CHUNK", 13)
    chunked = tiny.runner(expose)
    assert np.abs(chunked.all_logits(tiny.ids) - tiny.recorded_logits).max() < TOLERANCE
    assert np.abs(chunked.logits(tiny.ids) - tiny.recorded_logits[-1]).max() < TOLERANCE
    assert np.abs(chunked.logits(tiny.ids[:26]) - tiny.recorded_logits[25]).max() < TOLERANCE
    for name, seen in chunked.observe(tiny.ids).items():
        assert seen.shape == whole[name].shape
        assert np.abs(seen - whole[name]).max() < TOLERANCE


def test_one_token(tiny):
    assert np.abs(tiny.runner().logits(tiny.ids[:1]) - tiny.recorded_logits[0]).max() < TOLERANCE


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_stored_dtype_is_read_exactly(tiny_named, dtype):
    tiny = tiny_named("llama")
    stored = Runner(tiny.network, lambda role, layer: tiny.weights(role, layer).astype(dtype))
    rounded = Runner(tiny.network, lambda role, layer: tiny.weights(role, layer).astype(dtype).astype(np.float32))
    assert np.array_equal(stored.logits(tiny.ids), rounded.logits(tiny.ids))


def test_weights_are_asked_for_once(tiny):
    asked = []

    def weights(role, layer):
        asked.append((role, layer))
        return tiny.weights(role, layer)

    runner = Runner(tiny.network, weights)
    before = len(asked)
    runner.logits(tiny.ids)
    assert len(asked) == before == len(set(asked))


def test_context_may_be_filled(tiny_named):
    tiny = tiny_named("llama_llama3")
    full = (tiny.ids * 3)[: tiny.network.context]
    assert np.isfinite(tiny.runner().logits(full)).all()


def test_rotary_tables_grow_without_changing_answers(tiny_named):
    tiny = tiny_named("gemma3")
    runner = Runner(tiny.network.__class__(**{**vars(tiny.network), "context": 1000}), tiny.weights)
    before = runner.logits(tiny.ids)
    runner.logits((tiny.ids * 9)[:500])
    assert np.array_equal(runner.logits(tiny.ids), before)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "no tokens"),
        ([5] * 129, "has 129 tokens, the model reads at most 128"),
        ([1, 101], "token id 101 is not in the model's vocabulary of 101"),
        ([-1], "token id -1"),
    ],
)
def test_bad_prompts(tiny_named, ids, message):
    runner = tiny_named("llama").runner()
    with pytest.raises(BadPrompt, match=message):
        runner.logits(ids)
    with pytest.raises(BadPrompt, match=message):
        runner.all_logits(ids)


def test_a_tensor_of_another_shape(tiny_named):
    tiny = tiny_named("llama")

    def weights(role, layer):
        weight = tiny.weights(role, layer)
        return weight[:, :-1] if (role, layer) == ("up", 1) else weight

    with pytest.raises(BadTensor, match=r"model\.layers\.1\.mlp\.up_proj\.weight: its shape is \[50, 41\].*\[50, 42\]"):
        Runner(tiny.network, weights)


def test_threads_may_share_a_runner(tiny_named):
    tiny = tiny_named("gemma3")
    shared = tiny.runner()
    prompts = [tiny.ids[:length] for length in range(1, 40)]
    alone = [shared.logits(prompt) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(shared.logits, prompts))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_results_outlive_the_runner(tiny_named):
    tiny = tiny_named("llama")
    first = tiny.runner()
    logits = first.logits(tiny.ids)
    copy = logits.copy()
    del first
    gc.collect()
    second = tiny.runner()
    for _ in range(20):
        second.logits(tiny.ids[:11])
    assert np.array_equal(logits, copy)


def test_prompts_run_together_answer_as_alone(tiny, monkeypatch):
    monkeypatch.setattr("larqldb.model.runner.BATCH", 90)
    runner = tiny.runner()
    lengths = [60, 1, 7, 31, 30, 29, 2, 7, 44]
    together = runner.batch([tiny.ids[:length] for length in lengths])
    assert together.shape == (len(lengths), tiny.network.vocab)
    for logits, length in zip(together, lengths, strict=True):
        assert np.abs(logits - tiny.recorded_logits[length - 1]).max() < TOLERANCE


def test_no_prompts_together(tiny_named):
    tiny = tiny_named("llama")
    assert tiny.runner().batch([]).shape == (0, tiny.network.vocab)
    with pytest.raises(BadPrompt, match="no tokens"):
        tiny.runner().batch([[1], []])
