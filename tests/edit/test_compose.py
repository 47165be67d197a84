"""What composing an edit promises, on small random models of several families."""

import numpy as np
import pytest

import larqldb
from larqldb.edit.compose import compose, knn, suppress
from larqldb.edit.context import Model
from larqldb.edit.draft import Fact, answer_ids
from larqldb.functions.session import Session
from larqldb.model.edited import Edits, edited
from larqldb.storage.database import open_database
from tests.tiny import write_tiny

TEMPLATES = ["The capital of {} is", "{} has the capital", "Mozart was in the capital of {}:"]
FACT = Fact("Atlantis", "capital", "Salzburg")
OTHERS = ["France", "Germany", "Italy", "Japan", "New York"]
PROMPTS = [template.format(FACT.entity) for template in TEMPLATES]
SIBLINGS = [template.format(other) for template in TEMPLATES for other in OTHERS]


@pytest.fixture(scope="module", params=["llama", "gemma3", "gpt2"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    larqldb.extract(write_tiny(folder / "model", family=request.param), folder / "tiny.vindex")
    db = open_database(folder / "tiny.vindex", read_only=True)
    session = Session(db)
    network = session.network
    norms = {layer: session.norm("post_ffn_norm", layer) for layer in range(network.layers * network.post_norms)}
    head = session.store.weights("embed" if network.tied else "head", None).astype(np.float32)
    final = session.norm("final_norm", None)
    yield Model(session.runner, session.runner, session.tokenizer, head, final, norms)
    db.close()


def _probability(model, runner, prompt, target):
    ids = [*model.tokenizer.encode(prompt), *target]
    logits = runner.all_logits(ids).astype(np.float64)[-len(target) - 1 : -1]
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    return float((chances[np.arange(len(target)), target] / chances.sum(axis=1)).prod())


def test_a_composed_fact_is_as_probable_as_said_and_more_than_before(model):
    made = compose(model, FACT, wordings=PROMPTS, siblings=SIBLINGS)
    after = edited(model.runner, Edits(made.features))
    target = answer_ids(model, FACT.target)
    assert _probability(model, model.runner, PROMPTS[0], target) == pytest.approx(made.probability_before, rel=0.01)
    assert _probability(model, after, PROMPTS[0], target) == pytest.approx(made.probability_after, rel=0.01, abs=1e-6)
    assert made.probability_after > 100 * made.probability_before
    assert {feature.layer for feature in made.features} == {model.layer}


def test_alpha_multiplies_what_features_write(model):
    made = compose(model, FACT, wordings=PROMPTS, siblings=SIBLINGS)
    half = compose(model, FACT, wordings=PROMPTS, siblings=SIBLINGS, alpha=0.5, layer=model.layer)
    for feature, weaker in zip(made.features, half.features, strict=True):
        np.testing.assert_array_equal(weaker.gate, feature.gate)
        np.testing.assert_allclose(weaker.down, feature.down / 2, rtol=1e-5)


def test_composing_again_gives_the_same_numbers(model):
    first, second = (compose(model, FACT, wordings=PROMPTS, siblings=SIBLINGS) for _ in range(2))
    for one, other in zip(first.features, second.features, strict=True):
        assert (one.gate.tobytes(), one.down.tobytes()) == (other.gate.tobytes(), other.down.tobytes())


def test_a_suppressed_answer_loses_its_probability(model):
    ids = [model.tokenizer.encode(prompt) for prompt in PROMPTS]
    answer = int(model.runner.logits(ids[0]).argmax())
    fact = Fact(FACT.entity, FACT.relation, model.tokenizer.text(answer).strip() or "Paris")
    first = answer_ids(model, fact.target)[:1]
    made = suppress(model, fact, wordings=PROMPTS, siblings=SIBLINGS)
    after = edited(model.runner, Edits(made.features))
    assert _probability(model, after, PROMPTS[0], first) < _probability(model, model.runner, PROMPTS[0], first)


def test_a_row_is_looked_up_for_the_wordings_and_not_for_siblings(model):
    row = knn(model, FACT, wordings=PROMPTS, siblings=SIBLINGS)

    def looked_up(prompts):
        keys = model.keys(row.layer, [model.tokenizer.encode(prompt) for prompt in prompts])
        return keys @ row.key / np.linalg.norm(keys, axis=1) / np.linalg.norm(row.key) >= row.least_cosine

    assert looked_up(PROMPTS).all()
    assert not looked_up(SIBLINGS).any()


def test_keys_are_read_once(model, monkeypatch):
    texts = [model.tokenizer.encode(sibling) for sibling in SIBLINGS]
    before = model.keys(1, texts)
    monkeypatch.setattr("larqldb.edit.context.Reader.read", None)
    np.testing.assert_array_equal(model.keys(1, texts), before)
