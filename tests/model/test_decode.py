from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from larqldb.errors import BadPrompt

TOLERANCE = 2e-4


def test_token_by_token_equals_transformers(tiny):
    decoder = tiny.runner().decoder()
    for position, token in enumerate(tiny.ids):
        logits = decoder.read([token])
        assert logits.dtype == np.float32
        assert np.abs(logits - tiny.recorded_logits[position]).max() < TOLERANCE
    assert decoder.ids == tiny.ids


@pytest.mark.parametrize("first", [1, 5, 17])
def test_a_prompt_then_single_tokens_equal_transformers(tiny, first):
    decoder = tiny.runner().decoder()
    assert np.abs(decoder.read(tiny.ids[:first]) - tiny.recorded_logits[first - 1]).max() < TOLERANCE
    for position in range(first, len(tiny.ids)):
        assert np.abs(decoder.read([tiny.ids[position]]) - tiny.recorded_logits[position]).max() < TOLERANCE


def test_growing_buffers_and_chunks_change_nothing(tiny, monkeypatch):
    monkeypatch.setattr("larqldb.model.decode.ROOM", 3)
    monkeypatch.setattr("larqldb.model.decode.CHUNK", 7)
    decoder = tiny.runner().decoder()
    decoder.read(tiny.ids[:16])
    capacities = {decoder.capacity}
    for position in range(16, len(tiny.ids)):
        assert np.abs(decoder.read([tiny.ids[position]]) - tiny.recorded_logits[position]).max() < TOLERANCE
        capacities.add(decoder.capacity)
    assert len(capacities) > 1


def test_rewinding_forgets(tiny):
    decoder = tiny.runner().decoder()
    decoder.read(tiny.ids[:9])
    decoder.read(tiny.ids[5::-1])
    decoder.rewind(9)
    for position in range(9, len(tiny.ids)):
        assert np.abs(decoder.read([tiny.ids[position]]) - tiny.recorded_logits[position]).max() < TOLERANCE


def test_rewinding_to_what_was_not_read(tiny_named):
    decoder = tiny_named("llama").runner().decoder()
    decoder.read([1, 2])
    with pytest.raises(BadPrompt, match="2 tokens were read, not 3"):
        decoder.rewind(3)


def test_the_context_can_be_filled_and_not_overfilled(tiny_named):
    tiny = tiny_named("llama")
    decoder = tiny.runner().decoder()
    decoder.read((tiny.ids * 4)[: tiny.network.context - 1])
    assert not decoder.is_full
    decoder.read([1])
    assert decoder.is_full
    assert decoder.capacity == tiny.network.context
    with pytest.raises(BadPrompt, match="has 129 tokens, the model reads at most 128"):
        decoder.read([1])
    assert decoder.position == 128


def test_a_refused_token_leaves_the_text_as_it_was(tiny_named):
    tiny = tiny_named("llama")
    decoder = tiny.runner().decoder()
    decoder.read(tiny.ids[:4])
    for bad in ([], [101], [-1]):
        with pytest.raises(BadPrompt):
            decoder.read(bad)
    assert np.abs(decoder.read([tiny.ids[4]]) - tiny.recorded_logits[4]).max() < TOLERANCE


def test_decoders_of_one_runner_in_several_threads(tiny_named):
    tiny = tiny_named("gemma3")
    runner = tiny.runner()

    def decode(length):
        decoder = runner.decoder()
        decoder.read(tiny.ids[:length])
        return [decoder.read([token]).copy() for token in tiny.ids[length : length + 8]]

    lengths = list(range(1, 30))
    alone = [decode(length) for length in lengths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode, lengths))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
