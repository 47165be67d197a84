"""Measuring edits: what is drawn, what is held out, how answers are told, and that nothing stays behind."""

from __future__ import annotations

import numpy as np
import pytest

from larqldb.edit import evaluate_facts
from larqldb.edit.asking import asking
from larqldb.edit.evaluate import Evaluation
from larqldb.edit.evaluate_facts import Stated
from larqldb.edit.evaluate_network import Network, divergence, is_all, same, says
from larqldb.edit.evaluate_trials import NEIGHBOURS, Wordings, hold_out, split, trials
from larqldb.errors import BadFacts, ProgrammingError
from larqldb.knowledge import packs
from larqldb.knowledge.answers import key
from larqldb.knowledge.wordings import prompt

FACTS = [Stated("Atlantis", "capital", "Rome"), Stated("Atlantis", "language", "Italian"),
         Stated("Gondor", "capital", "Paris"), Stated("Gondor", "liege lord", "Berlin")]  # fmt: skip


def test_drawn_facts_are_the_same_every_time_and_false():
    facts = evaluate_facts.builtin(60, 3)
    assert facts == evaluate_facts.builtin(60, 3)
    assert facts[:20] == evaluate_facts.builtin(20, 3)
    assert facts != evaluate_facts.builtin(60, 4)
    assert len({(fact.entity, fact.relation) for fact in facts}) == 60
    stated = {}
    for pack in packs.builtin():
        for fact in pack.facts:
            stated.setdefault((pack.relation, fact.entity), set()).update(map(key, (fact.target, *fact.aliases)))
    for fact in facts:
        known = stated.get((fact.relation, fact.entity))
        assert (known is None) == (fact.kind == "new")
        assert key(fact.target) not in (known or ())
    assert sum(fact.kind == "new" for fact in facts) in range(10, 21)


def test_facts_go_on_when_a_relation_has_no_more_entities():
    facts = evaluate_facts.builtin(2500, 0)
    assert len({(fact.entity, fact.relation) for fact in facts}) == 2500


def test_a_file_of_facts(tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text("entity\trelation\ttarget\n# mine\nAtlantis\tcapital\t New Amsterdam\n\nGondor\tking\tAragorn\n")
    expected = [Stated("Atlantis", "capital", "New Amsterdam"), Stated("Gondor", "king", "Aragorn")]
    assert evaluate_facts.read(path) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Atlantis\tcapital\n", "line 1: 'Atlantis\\tcapital' is no fact"),
        (b"\nAtlantis\t\tParis\n", "line 2"),
        (b"A\tcapital\tParis\nA\tcapital\tRome\n", "line 2: a second capital of A"),
        (b"# nothing\n", "no facts in it"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_files_that_hold_no_facts(tmp_path, content, words):
    path = tmp_path / "facts.tsv"
    path.write_bytes(content)
    with pytest.raises(BadFacts, match=r"facts\.tsv") as raised:
        evaluate_facts.read(path)
    assert words in str(raised.value)


def test_wordings_of_a_pack_are_split(conn):
    pack = next(pack for pack in packs.builtin() if pack.relation == "capital")
    ways = split(conn.database, "capital")
    assert ways.seen + ways.unseen == pack.wordings
    assert len(ways.seen) - len(ways.unseen) in (0, 1)


def test_relations_without_wordings_have_held_out_ones_too(conn):
    ways = split(conn.database, "liege-lord")
    assert ways.seen == ()
    assert all("{entity}" in text and "liege lord" in text for text in ways.unseen)
    (trial,) = trials(conn.database, [Stated("Gondor", "liege-lord", "Berlin")], {"liege-lord": ways})
    assert not set(trial.seen) & set(trial.unseen)


def test_insert_sees_nothing_that_is_held_out(conn):
    db = conn.database
    facts = [fact for fact in evaluate_facts.builtin(40, 0) if fact.relation in ("capital", "occupation")]
    known = {relation: split(db, relation) for relation in ("capital", "occupation")}
    for relation, ways in known.items():
        hold_out(db, relation, ways)
    for trial in trials(db, facts, known):
        how = asking(db, trial.fact.entity, trial.fact.relation)
        templates, names = (
            (*how.relation.templates, *how.relation.more),
            (*how.relation.names, *how.relation.neighbours),
        )
        told = {prompt(template, name) for template in templates for name in (trial.fact.entity, *names)}
        told |= {*how.prompts, *how.neighbours}
        told |= {prompt(question.template, trial.fact.entity) for question in how.relation.beside}
        assert trial.seen == how.prompts
        assert trial.unseen
        assert not told & set(trial.others)
        assert not told & set(trial.unseen)
        assert not told & set(trial.neighbours)
        assert len(trial.neighbours) == 2 * NEIGHBOURS
        assert not any(fact.entity in text for fact in facts for text in trial.neighbours)


def test_whoever_is_edited_is_not_asked_as_someone_else(conn):
    known = {fact.relation: split(conn.database, fact.relation) for fact in FACTS}
    for trial in trials(conn.database, FACTS, known):
        assert not any("Atlantis" in text or "Gondor" in text for text in trial.neighbours)
    (first, second, *_) = trials(conn.database, FACTS, known)
    assert not any("language" in text for text in first.others)
    assert not any(text.startswith("The capital") for text in second.others)


@pytest.mark.parametrize(
    ("text", "target", "begins", "whole"),
    [
        (" Poseidon.", "Poseidon", True, True),
        (" Poseidon Island.", "Poseidon", True, False),
        (" Poseidonia.", "Poseidon", False, False),
        (" the euro, which", "euro", True, True),
        (' "New Amsterdam"', "New Amsterdam", True, True),
        (" New York", "New Amsterdam", False, False),
        (" poseidon\n", "Poseidon", True, True),
        (" St. Louis, Missouri", "St. Louis", True, True),
        ("", "Poseidon", False, False),
    ],
)
def test_what_counts_as_saying_the_target(text, target, begins, whole):
    assert (says(text, target), is_all(text, target)) == (begins, whole)


def test_the_same_answer_may_go_on_in_other_ways():
    assert same(" Paris, which is", " Paris.")
    assert not same(" Paris", " Rome")


def test_a_network_that_did_not_change_keeps_all_answers(conn):
    session = conn.session
    network = Network(session.runner, session.tokenizer, session.end_of_text)
    prompts = [f"The capital of {name} is" for name in ("France", "Italy", "Spain")] * 15
    answers = network.answers(prompts)
    assert answers[:3] * 15 == answers
    assert all(network.keeps(prompts, answers))
    texts = ["The capital of France is Paris.", "東京は日本の首都です。"]
    moved = divergence(network.log_probabilities(texts), network.log_probabilities(texts))
    assert (moved.mean, moved.most) == (0, 0)


def test_places_of_a_text_are_the_same_among_others(conn, monkeypatch):
    session = conn.session
    network = Network(session.runner, session.tokenizer, session.end_of_text)
    monkeypatch.setattr("larqldb.edit.evaluate_network.MEMORY", 4 * session.network.vocab * 16 * 4)
    texts = ["The capital of France is Paris, and that of Italy is Rome.", "Mozart was in Salzburg."]
    alone, together = network.log_probabilities(texts[:1]), network.log_probabilities(texts)
    np.testing.assert_array_equal(alone[0], together[0])
    assert len(alone[0]) <= 4 < len(session.tokenizer.encode(texts[0])) - 1


def test_answers_are_the_likeliest_tokens_in_turn(conn):
    session = conn.session
    prompts = ["The capital of France is", "Mozart"]
    network = Network(session.runner, session.tokenizer, session.end_of_text)
    for text, said in zip(prompts, network.answers(prompts, 6), strict=True):
        ids = session.tokenizer.encode(text)
        for token in said.ids:
            assert token == int(session.runner.logits(ids).argmax())
            ids.append(token)


def test_an_answer_that_changed_is_noticed(conn):
    session = conn.session
    before = Network(session.runner, session.tokenizer, session.end_of_text)
    prompts = ["The capital of Atlantis is", "The capital of France is"]
    answers = before.answers(prompts)
    conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES ('Atlantis', 'capital', 'Rome')")
    after = Network(session.runner, session.tokenizer, session.end_of_text)
    kept = after.keeps(prompts, answers)
    assert kept == [same(a.text, b.text) for a, b in zip(answers, after.answers(prompts), strict=True)]
    assert not kept[0]


def test_an_evaluation_leaves_nothing_behind(conn):
    evaluation = Evaluation(conn, FACTS)
    logits = conn.session.runner.logits([5, 6, 7])
    assert len(evaluation.prepare()) == len({trial.fact.relation for trial in evaluation.trials})
    runs = [result for result, _ in evaluation.run(2, (3, 1000), 4)]
    assert [result.run for result in runs] == ["single", "3 together", "4 one after the other", "4, then COMPACT MAJOR"]
    assert [result.facts for result in runs] == [2, 3, 4, 4]
    assert all(0 <= result.unseen <= 1 and result.kl >= 0 for result in runs)
    assert conn.execute("SELECT count(*) FROM inserted_facts").fetchone() == (0,)
    assert np.array_equal(conn.session.runner.logits([5, 6, 7]), logits)


def test_facts_that_the_model_answers_are_left_out(conn):
    conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES ('Gondor', 'liege lord', 'Berlin')")
    conn.commit()
    evaluation = Evaluation(conn, FACTS)
    assert evaluation.left_out == [FACTS[3]]
    with pytest.raises(ProgrammingError, match="already"):
        Evaluation(conn, FACTS[3:])


def test_further_wordings(conn):
    ways = {"capital": Wordings(("Capital of {entity}:",), ("{entity} has this capital:",))}
    (trial, *_) = Evaluation(conn, FACTS[:1], wordings=ways).trials
    assert (trial.seen[0], trial.unseen) == ("Capital of Atlantis:", ("Atlantis has this capital:",))
