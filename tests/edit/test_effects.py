"""What reading the effects of an edit says is what whole networks say, and nothing is read twice."""

import numpy as np
import pytest

from larqldb.edit.asking import asking
from larqldb.edit.effects import Effects
from larqldb.edit.measuring import answered, divergence, neighbourhood, target_ids
from larqldb.model.edited import AddedFeature

LAYER = 3


@pytest.fixture
def model(conn):
    return conn.editor.model


@pytest.fixture
def asked(conn):
    return [(asking(conn.database, "France", "capital"), "Paris")]


def _feature(model, size):
    """Open wherever there is a text."""
    rng = np.random.default_rng(0)
    gate, up, down = rng.standard_normal((3, model.network.hidden)).astype(np.float32)
    return AddedFeature(LAYER, gate, up if model.network.gated else None, down * np.float32(size))


def _whole(runner, ids):
    logits = runner.all_logits(ids).astype(np.float64)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_an_edited_network_says_what_it_says_as_a_whole(model, asked):
    effects, ((how, target),) = Effects(model.tokenizer), asked
    changed = model.with_more([_feature(model, 0.1)])
    effects.read(model, asked, others=True, layer=LAYER)
    (reading,) = effects.read(changed, asked, others=True, layer=LAYER)
    wanted = target_ids(model.tokenizer, target)
    for prompt, found in zip(how.prompts, reading.target, strict=True):
        ids = model.tokenizer.encode(prompt)
        logs = _whole(changed.runner, [*ids, *wanted])[len(ids) - 1 : -1]
        np.testing.assert_allclose(found, np.exp(logs[np.arange(len(wanted)), wanted]), rtol=1e-3, atol=1e-6)
    for prompt, found in zip(how.neighbours, reading.neighbours, strict=True):
        np.testing.assert_allclose(found, _whole(changed.runner, model.tokenizer.encode(prompt))[-1], atol=2e-3)


@pytest.mark.parametrize(("size", "is_read"), [(1e-8, False), (0.1, True)])
def test_texts_are_read_again_where_an_edit_moves_them(model, asked, monkeypatch, size, is_read):
    effects = Effects(model.tokenizer)
    (before,) = effects.read(model, asked, others=True, layer=LAYER)
    read = []
    logs = effects._logs
    monkeypatch.setattr(effects, "_logs", lambda *given: read.extend(given[2]) or logs(*given))
    (after,) = effects.read(model.with_more([_feature(model, size)]), asked, others=True, layer=LAYER)
    assert bool(read) == is_read
    assert (divergence(before, after) > 0) == (neighbourhood(before, after) > 0) == is_read


def test_a_text_goes_on_behind_the_first_wordings(model):
    texts = answered(model.tokenizer, [[5], [6], [7]], [8, 9])
    assert [ids[:3] for ids in texts] == [(5, 8, 9), (6, 8, 9), (7, 8, 9)]
    assert [len(ids) > 3 for ids in texts] == [True, True, False]
