"""Reading prompts together, and running only the end of a network, give what whole single runs give."""

import numpy as np
import pytest

import larqldb
from larqldb.edit.reading import Reader
from larqldb.edit.tail import Tail
from larqldb.functions.session import Session
from larqldb.model.edited import AddedFeature, Edits, edited
from larqldb.storage.database import open_database
from tests.tiny import write_tiny

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16, 17]]


@pytest.fixture(scope="module", params=["llama", "gemma3", "gemma2", "gpt2", "phi3"])
def runner(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    larqldb.extract(write_tiny(folder / "model", family=request.param), folder / "tiny.vindex")
    db = open_database(folder / "tiny.vindex", read_only=True)
    yield Session(db).runner
    db.close()


def _alone(runner, ids, names):
    return runner.changed(lambda _: None, {}, expose=names).observe(ids, range(len(ids)))


def test_a_prompts_last_position_is_what_it_is_alone(runner):
    name = "layers.3.ffn_input"
    seen = Reader(runner, [name]).read(PROMPTS)
    for row, ids in enumerate(PROMPTS):
        np.testing.assert_allclose(seen[name][row], _alone(runner, ids, [name])[name][-1], atol=2e-4)
        np.testing.assert_allclose(seen["logits"][row], runner.logits(ids), atol=2e-3)


def test_all_positions_are_what_they_are_alone(runner):
    name = "layers.2.residual"
    seen = dict(Reader(runner, [name], logits=False).read_everywhere(PROMPTS))
    for number, ids in enumerate(PROMPTS):
        assert set(seen[number]) == {name}
        np.testing.assert_allclose(seen[number][name], _alone(runner, ids, [name])[name], atol=2e-3)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_the_end_of_a_network_continues_residuals(runner, layer):
    name = f"layers.{layer}.residual"
    residuals = [_alone(runner, ids, [name])[name] for ids in PROMPTS]
    logits = Tail(runner, layer).logits(residuals, [[0, len(ids) - 1] for ids in PROMPTS])
    for row, ids in enumerate(PROMPTS):
        np.testing.assert_allclose(logits[row], runner.all_logits(ids)[[0, -1]], atol=2e-3)


def test_both_serve_other_edits_in_the_same_layers(runner):
    def with_feature(seed):
        rng = np.random.default_rng(seed)
        gate, up, down = rng.standard_normal((3, runner.network.hidden)).astype(np.float32)
        return edited(runner, Edits((AddedFeature(4, gate, up if runner.network.gated else None, down),)))

    name = "layers.4.residual"
    reader, tail = Reader(with_feature(0), [name]), Tail(with_feature(0), 3)
    other = with_feature(1)
    np.testing.assert_allclose(reader.of(other).read(PROMPTS)["logits"], other.batch(PROMPTS), atol=2e-3)
    before = _alone(other, PROMPTS[0], ["layers.3.residual"])["layers.3.residual"]
    np.testing.assert_allclose(tail.of(other).logits([before], [[2]])[0, 0], other.logits(PROMPTS[0]), atol=2e-3)
