from __future__ import annotations

import shutil
from contextlib import closing
from functools import partial

import numpy as np
import pytest

import larqldb
from larqldb.errors import BadFacts, BadPrompt, MissingPart, OperationalError, ProgrammingError
from larqldb.knowledge.answers import finished, key
from larqldb.knowledge.ask import PROBABLE, Asker
from larqldb.knowledge.domains import Domains
from larqldb.knowledge.live import ask_about, ask_entity, store
from larqldb.knowledge.probe import Request, builtin_requests, run
from larqldb.knowledge.wordings import prompt
from larqldb.storage.database import open_database
from tests.tiny import write_tiny

TEMPLATES = ["Norway: Oslo\n{entity}:", "x\nThe capital of {entity} is", "x\n{entity} is ruled from"]
FACTS = {"France": "Paris", "Germany": "Berlin", "Italy": ["Rome", "Roma"], "Norway": "Oslo"}


def rows(path, sql, *values):
    with closing(larqldb.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


def probe(path, **changes):
    return larqldb.probe(path, **{"relation": "capital", "templates": TEMPLATES, "facts": FACTS, **changes})


@pytest.fixture
def probed(tiny_vindex):
    probe(tiny_vindex, entities=["New York"])
    return tiny_vindex


def test_answers_are_the_models_own(tiny_vindex):
    """Those of many prompts together are those of each by itself, one token after the other."""
    with closing(larqldb.connect(tiny_vindex)) as connection:
        session = connection.session
        prompts = [session.tokenizer.encode(f"The capital of {name} is") for name in (*FACTS, "東京", "a b c d e f")]
        for ids, answer in zip(prompts, Asker(session).answers(prompts), strict=True):
            made, text = [], None
            while text is None and len(made) < 12:
                made.append(int(session.runner.logits([*ids, *made]).argmax()))
                over = made[-1] in session.end_of_text
                text = finished(session.tokenizer.decode(made[:-1] if over else made) + ("\n" if over else ""))
                text = text or ("" if over else text)
            assert answer.text == (text or "")
            assert 0 < answer.probability <= 1
            assert (answer.shares is None) == (answer.text == "")


def test_answers_that_came_close_are_the_models_own(tiny_vindex, monkeypatch):
    """Each begins with another token than the greedy answer, and goes on as the model by itself does."""
    monkeypatch.setattr("larqldb.knowledge.ask.PROBABLE", 1e-15)
    with closing(larqldb.connect(tiny_vindex)) as connection:
        session, compared = connection.session, 0
        prompts = [session.tokenizer.encode(f"The capital of {name} is") for name in (*FACTS, "東京", "a b c d e f")]
        for ids, answer in zip(prompts, Asker(session).answers(prompts), strict=True):
            sure = [each.probability for each in answer.others]
            assert sure == sorted(sure, reverse=True)
            close = {each.text: each for each in answer.others}
            for token in np.argsort(-session.runner.logits(ids), kind="stable")[1:3].tolist():
                made, text, most = [token], None, probability(session, ids, token)
                least = most
                while (text := finished(session.tokenizer.decode(made))) is None and len(made) < 12:
                    made.append(int(session.runner.logits([*ids, *made]).argmax()))
                    least *= probability(session, [*ids, *made[:-1]], made[-1])
                if text and not set(made) & session.end_of_text:
                    compared += 1
                    assert least * 0.999 <= close[text].probability <= most * 1.001
                    assert close[text].shares is not None
        assert compared > 2


def probability(session, ids, token):
    logits = session.runner.logits(ids).astype(np.float64)
    return float(np.exp(logits[token] - logits.max()) / np.exp(logits - logits.max()).sum())


def test_what_only_came_close_is_no_belief(probed):
    ((relation, entity),) = rows(probed, "SELECT relation, entity FROM edge_records WHERE agreement = 0 LIMIT 1")
    wrong = rows(probed, "SELECT believed FROM believes_wrong WHERE relation = ? AND entity = ?", relation, entity)
    answered = rows(
        probed, "SELECT target FROM edge_records WHERE relation = ? AND entity = ? AND agreement > 0", relation, entity
    )
    assert {target for (target,) in wrong} <= {target for (target,) in answered}


def test_files_probed_before_answers_that_came_close_were_kept(probed):
    before = rows(probed, "SELECT entity, target, agreement FROM edge_records WHERE source = 'probe' AND agreement > 0")
    with closing(larqldb.connect(probed)) as connection:
        connection.execute("UPDATE probes SET others = NULL")
        connection.execute("DELETE FROM edge_records WHERE source = 'probe' AND agreement = 0")
        connection.commit()
    assert probe(probed).asked == 0
    after = rows(probed, "SELECT entity, target, agreement FROM edge_records WHERE source = 'probe'")
    assert after == before
    assert rows(probed, "SELECT 1 FROM edge_records WHERE source = 'probe' AND confidence IS NULL") == []


def test_the_model_itself_is_asked_whatever_changes_the_network(tiny_vindex):
    probe(tiny_vindex)
    with closing(larqldb.connect(tiny_vindex)) as connection:
        session = connection.session
        prompts = [session.tokenizer.encode(prompt(TEMPLATES[1], name)) for name in FACTS]
        before = session.runner.logits(prompts[0])
        with connection.ablate(layer=1, features=range(20)):
            assert not np.array_equal(session.runner.logits(prompts[0]), before)
            found = [answer.text for answer in Asker(session).answers(prompts)]
    asked = dict(rows(tiny_vindex, "SELECT entity, answer FROM probes WHERE template = ?", TEMPLATES[1]))
    assert found == [asked[name] for name in FACTS]


def test_everything_that_a_probe_writes(probed):
    asked = rows(probed, "SELECT entity, template, answer, probability FROM probes WHERE relation = 'capital'")
    close = rows(probed, "SELECT entity, template, value ->> 0, value ->> 1 FROM probes, json_each(others)")
    assert len(asked) == 5 * 3
    assert all(probability >= PROBABLE and answer for *_, answer, probability in close)
    assert {entity for entity, *_ in asked} == {*FACTS, "New York"}
    edges = rows(
        probed,
        "SELECT entity, target, layer, feature, score, confidence, probability, agreement, edge_id "
        "FROM edge_records WHERE source = 'probe' AND relation = 'capital'",
    )
    assert {(entity, key(target)) for entity, target, *_ in edges} == {
        (e, key(a)) for e, _, a, _ in [*asked, *close] if key(a)
    }
    for entity, target, layer, feature, score, confidence, probability, agreement, edge_id in edges:
        given = [p for e, _, a, p in asked if e == entity and key(a) == key(target)]
        came_close = [p for e, _, a, p in close if e == entity and key(a) == key(target)]
        assert agreement == pytest.approx(len(given) / 3)
        assert probability == pytest.approx(sum(given + came_close) / 3)
        assert 0 < confidence < 1
        evidence = rows(
            probed, "SELECT rank, kind, layer, number, contribution, wordings FROM edge_evidence "
            "WHERE edge_id = ? ORDER BY rank", edge_id,
        )  # fmt: skip
        assert [row[0] for row in evidence] == list(range(1, len(evidence) + 1))
        most = max((row for row in evidence if row[1] == "feature"), key=lambda row: row[4])
        assert (layer, feature, score) == (most[2], most[3], most[4])
        assert all(0 <= row[5] <= len(given or came_close) for row in evidence)
    counts = rows(probed, "SELECT entity, edges, confidence FROM entities WHERE confidence IS NOT NULL")
    assert {entity for entity, *_ in counts} == {entity for entity, *_ in edges}
    for entity, count, _ in counts:
        assert rows(probed, "SELECT count(*) FROM edges WHERE entity = ?", entity) == [(count,)]
    assert rows(probed, "SELECT relation, entity, target FROM facts ORDER BY 2, 3")[2:4] == [
        ("capital", "Italy", "Roma"), ("capital", "Italy", "Rome"),
    ]  # fmt: skip
    assert rows(probed, "SELECT count(*) FROM relation_templates WHERE relation = 'capital'") == [(3,)]
    assert rows(probed, "SELECT count(*) FROM relation_domains") == [(1,)]
    assert rows(probed, "PRAGMA foreign_key_check") == []


def test_what_was_asked_is_not_asked_again(probed):
    before = rows(probed, "SELECT edge_id, target, confidence FROM edge_records WHERE source = 'probe'")
    report = probe(probed)
    assert report.asked == 0
    assert rows(probed, "SELECT edge_id, target, confidence FROM edge_records WHERE source = 'probe'") == before


def test_an_interrupted_probe_goes_on(tiny_vindex, monkeypatch):
    monkeypatch.setattr("larqldb.knowledge.probe.TOGETHER", 2)

    def interrupt(what, done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe(tiny_vindex, progress=interrupt)
    assert rows(tiny_vindex, "SELECT count(*) FROM probes") == [(6,)]
    said = []
    report = probe(tiny_vindex, progress=lambda *step: said.append(step))
    assert report.asked == 6
    assert said[:2] == [("capital", 0, 6), ("calibrating", 6, 6)]
    assert rows(tiny_vindex, "SELECT count(*), count(DISTINCT entity || template) FROM probes") == [(12, 12)]


def test_other_wordings_take_the_place_of_the_old(probed):
    report = probe(probed, templates=["y\n{entity} is"], facts=None)
    assert (report.asked, report.relations[0].entities) == (5, 5)
    assert rows(probed, "SELECT DISTINCT template FROM probes") == [("y\n{entity} is",)]
    assert rows(
        probed, "SELECT count(*) FROM edge_evidence WHERE edge_id NOT IN (SELECT edge_id FROM edge_records)"
    ) == [(0,)]
    assert rows(probed, "SELECT 1 FROM edge_records WHERE source = 'probe' AND agreement NOT IN (0, 1)") == []


def test_plain_templates_are_asked_with_facts_before_them_too(tiny_vindex):
    probe(tiny_vindex, templates=["The capital of {entity} is"])
    kept = [template for (template,) in rows(tiny_vindex, "SELECT template FROM relation_templates ORDER BY 1 DESC")]
    assert sorted(template.count("\n") for template in kept) == [0, 3]
    assert probe(tiny_vindex, templates=["The capital of {entity} is"]).asked == 0
    assert probe(tiny_vindex, templates=["The capital of {entity} is"], examples=0).asked == 4


def test_a_relation_added_in_sql(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        connection.execute("INSERT INTO relations VALUES ('tongue', NULL, 'user')")
        connection.execute("INSERT INTO relation_templates VALUES ('tongue', 'People in {entity} speak')")
        connection.execute("INSERT INTO facts VALUES ('tongue', 'France', 'French', NULL, 'me')")
        connection.commit()
    report = run(tiny_vindex, [Request("tongue", examples=0)])
    assert (report.asked, report.relations[0].stated) == (1, 1)


def test_facts_from_a_table_and_from_rows(tiny_vindex, tmp_path):
    table = tmp_path / "facts.tsv"
    table.write_text("France\tParis\tLutetia|Paname\n")
    probe(tiny_vindex, facts=table)
    probe(tiny_vindex, facts=[("Spain", "Madrid", "Villa")])
    assert rows(tiny_vindex, "SELECT entity, target, aliases, source FROM facts ORDER BY 1") == [
        ("France", "Paris", '["Lutetia", "Paname"]', str(table)),
        ("Spain", "Madrid", '["Villa"]', "user"),
    ]


def test_targets_are_written_as_the_facts_write_them(tiny_vindex):
    probe(tiny_vindex)
    ((entity, target),) = rows(tiny_vindex, "SELECT entity, target FROM edge_records WHERE source = 'probe' LIMIT 1")
    other = f"The {target.upper()}"
    probe(tiny_vindex, facts={entity: other}, templates=["z\n" + TEMPLATES[1], *TEMPLATES])
    probe(tiny_vindex, facts={entity: other})
    assert rows(tiny_vindex, "SELECT count(*) FROM edge_records WHERE entity = ? AND target = ?", entity, other) == [
        (1,)
    ]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"templates": ["The capital is"]}, ProgrammingError, "does not hold {entity}"),
        ({"templates": []}, ProgrammingError, "no templates"),
        ({"templates": "The capital of {entity} is"}, ProgrammingError, "put a single one into"),
        ({"facts": None}, ProgrammingError, "nobody to ask about"),
        ({"entities": [""]}, BadPrompt, "has no tokens"),
        ({"entities": ["qx" * 90]}, BadPrompt, "the model reads at most 128"),
        ({"facts": [("France",)]}, ProgrammingError, "fact 1 is"),
        ({"facts": {"France": ""}}, ProgrammingError, "is no fact"),
        ({"facts": "/nowhere/facts.tsv"}, BadFacts, "No such file"),
        ({"relation": " "}, ProgrammingError, "not blank"),
        ({"relation": "Associates"}, ProgrammingError, "differs in capitals only"),
    ],
)
def test_what_cannot_be_asked(tiny_vindex, changes, error, words):
    with pytest.raises(error, match=words) as raised:
        probe(tiny_vindex, **changes)
    assert len(str(raised.value).splitlines()) <= 2
    assert rows(tiny_vindex, "SELECT count(*) FROM probes") == [(0,)]
    assert rows(tiny_vindex, "SELECT count(*) FROM relations WHERE name = 'capital'") == [(0,)]


def test_a_ragged_line_is_named(tiny_vindex, tmp_path):
    table = tmp_path / "facts.tsv"
    table.write_text("France\tParis\nGermany\n")
    with pytest.raises(BadFacts, match="line 2"):
        probe(tiny_vindex, facts=table)


def test_a_file_without_the_network(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "b.vindex", level="browse")
    with pytest.raises(MissingPart, match="probing needs attention weights"):
        probe(tmp_path / "b.vindex")


def test_a_read_only_file(tiny_vindex, monkeypatch):
    monkeypatch.setattr("larqldb.knowledge.probe.open_database", partial(open_database, read_only=True))
    with pytest.raises(OperationalError, match="is read-only, and a probe writes to it"):
        probe(tiny_vindex)


def test_built_in_relations_by_name():
    assert len(builtin_requests()) >= 12
    (capital, own) = builtin_requests(["capital", "my own"])
    assert capital.default_templates
    assert (own.relation, own.facts) == ("my own", ())


@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_other_families(family, tmp_path):
    larqldb.extract(write_tiny(tmp_path / "m", family=family), tmp_path / "m.vindex")
    assert probe(tmp_path / "m.vindex").asked == 12
    answers = rows(
        tmp_path / "m.vindex",
        "SELECT entity, answer FROM probes UNION SELECT entity, value ->> 0 FROM probes, json_each(others)",
    )
    edges = rows(tmp_path / "m.vindex", "SELECT entity, target FROM edge_records WHERE source = 'probe'")
    made = sorted((entity, key(target)) for entity, target in edges)
    assert made == sorted({(entity, key(answer)) for entity, answer in answers if key(answer)})


def test_asking_live(probed):
    with closing(larqldb.connect(probed)) as connection:
        (found,) = ask_entity(connection.session, "Spain", ["capital"], least=0)
        assert found.relation == "capital"
        assert set(found.answers) == set(TEMPLATES)
        rated = [confidence for _, confidence in found.edges]
        assert rated == sorted(rated, reverse=True)
        assert connection.execute("SELECT count(*) FROM probes WHERE entity = 'Spain'").fetchone() == (0,)
        store(connection.session, "Spain", [found])
        connection.database.execute("SELECT 1").fetchall()
        stored = connection.execute(
            "SELECT target, confidence FROM edge_records WHERE entity = 'Spain' AND source = 'probe' ORDER BY edge_id"
        ).fetchall()
    assert stored == [(edge.target, confidence) for edge, confidence in found.edges]


def test_asking_about_what_makes_sense(probed, monkeypatch):
    probe(probed, relation="river", facts={"France": "Seine"}, entities=["Spain"])
    monkeypatch.setattr(Domains, "belongs", lambda self, entity: {"capital": True, "river": entity == "Rhine"})
    monkeypatch.setattr("larqldb.knowledge.live.LEAST", 0)
    with closing(larqldb.connect(probed)) as connection:
        session = connection.session
        capital, river = ask_about(session, "Rome", ["capital", "river"])
        assert set(capital.answers) == set(TEMPLATES)
        assert {edge.target for edge, _ in capital.edges} >= {a.text for a in capital.answers.values() if a.text}
        assert (river.answers, river.edges) == ({}, ())
        echo, _ = capital.edges[0]
        (again,) = ask_about(session, echo.target, ["capital"])
        assert key(echo.target) not in {key(edge.target) for edge, _ in again.edges}
        store(session, "Rome", [capital, river])
        assert connection.execute("SELECT * FROM not_asked").fetchall() == [("Rome", "river")]


def test_live_answers_are_those_of_a_probe(probed, tmp_path):
    other = shutil.copy(probed, tmp_path / "other.vindex")
    probe(other, entities=["Spain"])
    with closing(larqldb.connect(probed)) as connection:
        (found,) = ask_entity(connection.session, "Spain", ["capital"], least=0)
    asked = dict(rows(other, "SELECT template, answer FROM probes WHERE entity = 'Spain'"))
    assert {template: answer.text for template, answer in found.answers.items()} == asked


def test_nothing_makes_sense_of_anything_in_a_file_never_probed(tiny_extracted):
    with closing(larqldb.connect(tiny_extracted, read_only=True)) as connection:
        assert ask_entity(connection.session, "Spain") == []
        with pytest.raises(BadPrompt, match="has no tokens"):
            ask_entity(connection.session, " ")
