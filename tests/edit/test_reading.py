"""Reading prompts together, and running only the end of a network, give what whole single runs give."""

import numpy as np
import pytest

import larqldb
from larqldb.edit.forest import Forest, together
from larqldb.edit.reading import Reader
from larqldb.edit.tail import Tail
from larqldb.functions.session import Session
from larqldb.model.edited import AddedFeature, Edits, edited
from larqldb.storage.database import open_database
from tests.tiny import write_tiny

TEXTS = [[5, 6, 7], [8], [5, 6, 7, 12, 13, 14], [5, 16, 17], [5, 6, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]]


@pytest.fixture(scope="module", params=["llama", "gemma3", "gemma2", "gpt2", "phi3"])
def runner(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    larqldb.extract(write_tiny(folder / "model", family=request.param), folder / "tiny.vindex")
    db = open_database(folder / "tiny.vindex", read_only=True)
    yield Session(db).runner
    db.close()


def _alone(runner, ids, names):
    return runner.changed(lambda _: None, {}, expose=names).observe(ids, range(len(ids)))


def test_texts_that_begin_alike_are_what_they_are_alone(runner):
    names = ["layers.3.ffn_input", "layers.3.residual"]
    for ids, seen in zip(TEXTS, Reader(runner, 3).read(TEXTS), strict=True):
        alone = _alone(runner, ids, names)
        np.testing.assert_allclose(seen.inputs, alone[names[0]], atol=2e-4)
        np.testing.assert_allclose(seen.residual, alone[names[1]], atol=2e-3)


def test_shared_beginnings_are_read_once():
    forest = Forest(TEXTS)
    assert len(forest) == len({tuple(ids[:end]) for ids in TEXTS for end in range(1, len(ids) + 1)})
    for ids, path in zip(TEXTS, forest.paths, strict=True):
        assert forest.ids[path].tolist() == ids


def test_runs_hold_texts_that_begin_alike_and_not_too_many_of_them(monkeypatch):
    monkeypatch.setattr("larqldb.edit.forest.NODES", 7)
    runs = list(together(TEXTS))
    assert sorted(number for run in runs for number in run) == list(range(len(TEXTS)))
    for run in runs:
        assert len(run) == 1 or len(Forest([TEXTS[number] for number in run])) <= 7


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_the_end_of_a_network_continues_residuals(runner, layer):
    name = f"layers.{layer}.residual"
    forest = Forest(TEXTS)
    residuals = np.empty((len(forest), runner.network.hidden), np.float32)
    for ids, path in zip(TEXTS, forest.paths, strict=True):
        residuals[path] = _alone(runner, ids, [name])[name]
    end, _ = Tail(runner, layer).begin().more(forest.parents, residuals)
    for ids, path in zip(TEXTS, forest.paths, strict=True):
        np.testing.assert_allclose(runner.head(end[path]), runner.all_logits(ids), atol=2e-3)


def test_the_end_of_a_network_goes_on_in_several_ways(runner):
    name = "layers.2.residual"
    residuals = _alone(runner, TEXTS[2], [name])[name]
    _, begun = Tail(runner, 2).begin().more(range(-1, 2), residuals[:3])
    for _ in range(2):
        end, _ = begun.more([2, 3, 4], residuals[3:])
        np.testing.assert_allclose(runner.head(end), runner.all_logits(TEXTS[2])[3:], atol=2e-3)


def test_both_serve_other_edits_in_the_same_layers(runner):
    def with_feature(seed):
        rng = np.random.default_rng(seed)
        gate, up, down = rng.standard_normal((3, runner.network.hidden)).astype(np.float32)
        return edited(runner, Edits((AddedFeature(4, gate, up if runner.network.gated else None, down),)))

    reader, tail, other = Reader(with_feature(0), 4), Tail(with_feature(0), 3), with_feature(1)
    ids, names = TEXTS[0], ["layers.3.residual", "layers.4.residual"]
    alone = _alone(other, ids, names)
    np.testing.assert_allclose(reader.of(other).read([ids])[0].residual, alone[names[1]], atol=2e-3)
    end, _ = tail.of(other).begin().more(range(-1, len(ids) - 1), alone[names[0]])
    np.testing.assert_allclose(other.head(end[-1:])[0], other.logits(ids), atol=2e-3)
