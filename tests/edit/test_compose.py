"""What composing an edit promises, on small random models of several families."""

from dataclasses import replace

import numpy as np
import pytest

import larqldb
from larqldb.edit import background
from larqldb.edit.asking import Asking, Question, Relation
from larqldb.edit.compose import Task, compose, knn, suppress
from larqldb.edit.context import Model, forget_texts
from larqldb.edit.draft import (
    ANSWERED,
    FEW,
    LEAST,
    MARGIN,
    NEAREST,
    STEEPNESS,
    WIDTH,
    Draft,
    Fact,
    confusable,
    high,
)
from larqldb.edit.manner import ANSWER, manner, starts
from larqldb.edit.measuring import target_ids
from larqldb.edit.reading import Reader
from larqldb.edit.trial import Trial, Way
from larqldb.functions.session import Session
from larqldb.model.edited import Edits, edited
from larqldb.storage.database import open_database
from tests.tiny import write_tiny

TEMPLATES = ["The capital of {} is", "{} has the capital", "Mozart was in the capital of {}:"]
FACT = Fact("Atlantis", "capital", "Salzburg")
OTHERS = ["France", "Germany", "Italy", "Japan", "New York"]
PROMPTS = [template.format(FACT.entity) for template in TEMPLATES]
SIBLINGS = [template.format(other) for template in TEMPLATES for other in OTHERS]
TEMPLATES_OF = tuple(template.replace("{}", "{entity}") for template in TEMPLATES)
REPHRASED = "{entity} is ruled from"
BESIDE = (Question("{entity} is", tuple(OTHERS)),)
RELATION = Relation(TEMPLATES_OF, (REPHRASED,), ("{entity} has its capital,",), tuple(OTHERS), (), BESIDE, False)


def asked(entity=FACT.entity):
    """How an entity is asked for a relation."""
    prompts = tuple(template.format(entity) for template in TEMPLATES)
    rephrased = (REPHRASED.replace("{entity}", entity),)
    near, earlier = ("The capital of New Atlantis is",), ("The capital of Gondor is",)
    return Asking(prompts, rephrased, (), near, earlier, RELATION)


def task(fact=FACT, **settings):
    """Random models tell names apart by little: the ridge is small."""
    return Task(fact, asked(fact.entity), ridge=1e-6, **settings)


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


def test_a_composed_fact_is_more_probable_than_before(model):
    before = _probability(model, model.runner, PROMPTS[0], target_ids(model.tokenizer, FACT.target))
    (made,) = compose(model, [task()])
    after = edited(model.runner, Edits(made))
    target = target_ids(model.tokenizer, FACT.target)
    assert _probability(model, after, PROMPTS[0], target) > 10 * before
    assert {feature.layer for feature in made} == {model.layer}


def test_alpha_multiplies_what_features_write(model):
    (made,) = compose(model, [task()])
    (half,) = compose(model, [task(alpha=0.5, layer=model.layer)])
    for feature, weaker in zip(made, half, strict=True):
        np.testing.assert_array_equal(weaker.gate, feature.gate)
        np.testing.assert_allclose(weaker.down, feature.down / 2, rtol=1e-5)


def test_composing_again_gives_the_same_numbers(model):
    first, second = (compose(model, [task()])[0] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.gate.tobytes(), one.down.tobytes()) == (other.gate.tobytes(), other.down.tobytes())


def test_a_suppressed_answer_loses_its_probability(model):
    ids = [model.tokenizer.encode(prompt) for prompt in PROMPTS]
    answer = int(model.runner.logits(ids[0]).argmax())
    fact = Fact(FACT.entity, FACT.relation, model.tokenizer.text(answer).strip() or "Paris")
    first = target_ids(model.tokenizer, fact.target)[:1]
    (made,) = suppress(model, [task(fact)])
    after = edited(model.runner, Edits(made))
    assert _probability(model, after, PROMPTS[0], first) < _probability(model, model.runner, PROMPTS[0], first)


def test_a_row_is_looked_up_for_the_wordings_and_not_for_siblings(model):
    ((row, *_),) = knn(model, [task()])

    def looked_up(prompts):
        keys = model.keys(row.layer, [model.tokenizer.encode(prompt) for prompt in prompts])
        return keys @ row.key / np.linalg.norm(keys, axis=1) / np.linalg.norm(row.key) >= row.least_cosine

    assert looked_up(PROMPTS).all()
    assert not looked_up(SIBLINGS).any()


def test_rows_where_others_answers_go_on_are_those_of_the_texts(model):
    """What the model answers to others is gone on with greedily; the layer is looked at behind each answered token."""
    rows = manner(model, RELATION, model.layer).begun
    wordings = RELATION.wordings
    texts = [model.tokenizer.encode(wordings[number].format(entity=name)) for number, name in enumerate(OTHERS[:4])]
    watching = model.runner.changed(lambda _: None, {}, expose=[f"layers.{model.layer}.ffn_input"])
    for step in range(ANSWER):
        for number, ids in enumerate(texts):
            ids.append(int(model.runner.logits(ids).argmax()))
            seen = watching.observe(ids)[f"layers.{model.layer}.ffn_input"][-1]
            np.testing.assert_allclose(rows[step * len(OTHERS) + number], seen, rtol=1e-2, atol=5e-3)  # kept in float16
    assert len(rows) == ANSWER * len(OTHERS)


def test_answers_start_with_the_tokens_that_the_base_chooses_most(model):
    chosen = [int(model.base.logits(model.tokenizer.encode(f"{name} is")).argmax()) for name in OTHERS]
    likely = starts(model, BESIDE[0])
    assert sorted(likely) == sorted(set(chosen))
    counts = [chosen.count(token) for token in likely]
    assert counts == sorted(counts, reverse=True)
    assert starts(model, Question("{entity} is", ())) == ()


def test_a_fact_is_told_apart_from_answers_to_other_questions(model):
    draft = Draft(model, FACT, asked(), model.layer)
    asked_too = tuple(model.tokenizer.encode("Atlantis is"))
    likely = starts(model, BESIDE[0])[:ANSWERED]
    assert likely
    assert {(*asked_too, token) for token in likely} <= set(draft.ends)


def test_names_that_end_in_a_like_token_are_told_apart(model):
    draft = Draft(model, FACT, asked(), model.layer)
    prompt = tuple(model.tokenizer.encode(PROMPTS[0]))
    place = len(model.tokenizer.encode("The capital of Atlantis")) - 1
    exchanged = [(*prompt[:place], token, *prompt[place + 1 :]) for token in confusable(model, prompt[place])]
    assert prompt not in exchanged
    assert set(exchanged) <= set(draft.ends)


def test_steps_begin_where_names_that_end_in_a_like_token_do(model, monkeypatch):
    draft = Draft(model, FACT, asked(), model.layer)
    draft.read()
    alike = model.keys(draft.layer, draft._confusable)
    farthest = 0.8

    def parts(self, direction, seen):
        return np.where((seen[:, None] == alike).all(axis=2).any(axis=1), farthest, 0.0)

    monkeypatch.setattr(Draft, "_parts", parts)
    draft.separate(0, ())
    rising, _ = draft.features(0, 1.0)
    begins = (STEEPNESS * draft.directions[0] - rising.gate) / background.bias(model, draft.layer) / STEEPNESS
    np.testing.assert_allclose(begins, farthest, rtol=1e-3)


def test_the_more_facts_there_are_the_surer_each_has_to_be():
    assert [high(1), high(FEW), high(10**9)] == [1 - MARGIN, 1 - MARGIN, 1 - LEAST]
    assert high(FEW) < high(20) < high(40) < high(10**9)


def test_facts_are_tried_together_as_each_alone(model):
    drafts = [
        Draft(model, fact, asked(fact.entity), model.layer, 1e-6)
        for fact in (FACT, Fact("Gondor", "capital", "Rome"), Fact("Atlantis", "capital", "Bonn"))
    ]
    for draft in drafts:
        draft.read()
        for step in range(len(draft.target)):
            draft.separate(step, ())
    ways = [
        Way(number, dict.fromkeys(range(len(draft.target)), push), [len(draft.target) - 1])
        for number, draft in enumerate(drafts)
        for push in (0.5, 2.0)
    ]
    trial = Trial(drafts)
    found = trial.probabilities(ways)
    for number, draft in enumerate(drafts):
        alone = Trial([draft])
        np.testing.assert_allclose(trial.before[number], alone.before[0], rtol=1e-3)
        np.testing.assert_allclose(trial.following[number], alone.following[0], atol=1e-3)
        mine = [(way, chances) for way, chances in zip(ways, found, strict=True) if way.number == number]
        for (_, chances), other in zip(
            mine, alone.probabilities([replace(way, number=0) for way, _ in mine]), strict=True
        ):
            assert chances.shape == (len(PROMPTS), 1)
            np.testing.assert_allclose(chances, other, rtol=1e-3)


@pytest.mark.parametrize("ridge", [0.01, 0.1, 1.0])
def test_gates_stay_shut_on_all_that_a_fact_is_told_apart_from(model, ridge):
    """As far as that comes less near than the canonical wording; the larger the ridge, the nearer it comes."""
    draft = Draft(model, FACT, asked(), model.layer, ridge)
    draft.read()
    canonical, level = draft.keys(0)[0], background.bias(model, model.layer)
    text = background.keys(model, model.layer)
    alike = canonical + np.float32(0.3) * (text - canonical)
    draft.separate(0, [alike])
    rising, levelling = draft.features(0, 1.0)
    assert canonical @ levelling.gate > -0.1 * STEEPNESS
    for seen in (alike, text):
        seen = seen[seen @ level > 0]
        nearest = (seen @ draft.directions[0]) / (seen @ level)
        assert (seen @ rising.gate)[nearest < 1 - NEAREST - 2 * WIDTH].max() <= 1e-3 * STEEPNESS


def test_thresholds_hold_where_texts_begin(model, monkeypatch):
    """The direction that thresholds come from is brought up there, less so elsewhere."""
    layer = 0  # where nothing has asked for it yet
    first = model.keys(layer, list(dict.fromkeys(tuple(text[:1]) for text in background.texts(model))))
    keys = background.keys(model, layer)
    even = background.constant([keys])
    monkeypatch.setattr(background, "FIRST", (first @ even).mean() + 1)
    more = background.bias(model, layer) - even
    assert 0 < (first @ more).mean() <= 1
    assert abs((keys @ more).mean()) < (first @ more).mean()


def test_a_fact_is_told_apart_all_along_what_else_is_said_of_its_entity(model):
    draft = Draft(model, FACT, asked(), model.layer)
    beside = tuple(model.tokenizer.encode("Atlantis is"))
    assert {beside, beside[:-1]} <= set(draft.ends)


@pytest.mark.parametrize("token", [3, 40, 77])
def test_tokens_like_one_are_the_nearest_in_the_head_that_look_like_it(model, token):
    text, found = model.tokenizer.text, confusable(model, token)
    cosines = model.head @ model.head[token] / np.linalg.norm(model.head, axis=1)
    assert token not in found
    assert list(cosines[found]) == sorted(cosines[found], reverse=True)
    assert all(text(other)[:1].isspace() == text(token)[:1].isspace() for other in found if text(token).strip())


def test_keys_are_read_once(model, monkeypatch):
    texts = [model.tokenizer.encode(sibling) for sibling in SIBLINGS]
    before = model.keys(1, texts)
    monkeypatch.setattr("larqldb.edit.context.Reader._run", None)
    np.testing.assert_array_equal(model.keys(1, texts), before)


def test_what_a_layer_sees_with_edits_is_what_the_edited_network_makes(model):
    (made,) = compose(model, [task()])
    layer, texts = model.layer, [tuple(model.tokenizer.encode(prompt)) for prompt in PROMPTS]
    changed = model.with_more(made)
    names = [f"layers.{layer}.{kind}" for kind in ("ffn_input", "residual")]
    runner = changed.runner.changed(lambda _: None, {}, expose=names)
    for ids, seen in zip(texts, changed.seen(layer, texts), strict=True):
        whole = runner.observe(ids)
        np.testing.assert_allclose(seen.inputs, whole[names[0]], atol=1e-4)
        rounding = 3e-4 * float(np.abs(whole[names[1]]).max())
        np.testing.assert_allclose(seen.residual, whole[names[1]], rtol=1e-3, atol=rounding)


def test_facts_made_together_open_less_on_each_other_than_alone(model):
    other = Fact("Land1True", "capital", "Kyoto")
    keys = model.keys(model.layer, [model.tokenizer.encode(prompt.format(other.entity)) for prompt in TEMPLATES])

    def opened(made):
        part = model.features(model.layer, made[:2])
        return float((keys @ part.gate[0]).max())

    (alone,), (together, _) = compose(model, [task()]), compose(model, [task(), task(other)])
    assert opened(together) <= max(opened(alone), 0) + 1


def test_a_later_edit_is_part_of_the_end_of_the_network(model):
    if model.layer == model.network.layers - 1:
        model = Model(
            model.runner, model.base, model.tokenizer, model.head, model.final_norm, model.post_norms, model.kept
        )
    (late,) = compose(model, [task(layer=model.network.layers - 1)])
    changed = model.with_more(late)
    ids = model.tokenizer.encode(PROMPTS[0])
    (seen,) = changed.seen(0, [ids])
    end, _ = changed.tail(0).begin().more(range(-1, len(ids) - 1), seen.residual)
    np.testing.assert_allclose(model.base.head(end[-1:])[0], changed.runner.logits(ids), rtol=1e-3, atol=1e-3)


def test_texts_are_read_once_until_they_are_forgotten(model, monkeypatch):
    reads = []
    read = Reader.read
    monkeypatch.setattr(Reader, "read", lambda reader, texts: reads.extend(texts) or read(reader, texts))
    texts = [tuple(model.tokenizer.encode(prompt)) for prompt in ("Sand and salt", "Sand and snow")]
    keys = model.keys(model.layer, texts)
    model.seen(model.layer, texts[:1])
    assert reads == [*texts, texts[0]]
    model.keys(model.layer, texts)
    model.seen(model.layer, texts[:1])
    assert len(reads) == 3
    forget_texts(model.base)
    np.testing.assert_array_equal(model.keys(model.layer, texts), keys)
    assert reads[3:] == texts
