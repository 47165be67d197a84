"""What two real models know, asked about a few things."""

from __future__ import annotations

import shutil
from contextlib import closing

import pytest

import larqldb
from larqldb.knowledge.ask import Asker, ask_all
from larqldb.knowledge.live import ask_entity
from larqldb.knowledge.packs import builtin
from larqldb.knowledge.probe import Request, run
from larqldb.knowledge.support import supports
from larqldb.knowledge.wordings import templates

PACKS = {pack.relation: pack for pack in builtin()}


@pytest.mark.parametrize(
    ("vindex", "relation", "right"),
    [
        ("smollm2_vindex", "capital", {"France": "paris", "Japan": "tokyo", "Egypt": "cairo", "Spain": "madrid"}),
        ("gemma3_vindex", "capital", {"France": "paris", "Japan": "tokyo", "Egypt": "cairo", "Spain": "madrid"}),
        ("gemma3_vindex", "element_symbol", {"oxygen": "o", "helium": "he", "carbon": "c", "neon": "ne"}),
    ],
)
def test_best_supported_answers(request, vindex, relation, right):
    with closing(larqldb.connect(request.getfixturevalue(vindex), read_only=True)) as connection:
        session = connection.session
        found = ask_all(session, Asker(session), templates(PACKS[relation])[:3], list(right))
    best = {
        entity: next(iter(supports([answer.given for answer in answers.values()]))) for entity, answers in found.items()
    }
    assert best == right
    for answers in found.values():
        for answer in answers.values():
            assert answer.shares is None or abs(answer.shares.shares).max() < 2 * abs(answer.shares.logit)


@pytest.fixture(scope="module")
def asked(smollm2_vindex, tmp_path_factory):
    """SmolLM2 after a small probe: a few entities of two relations."""
    path = tmp_path_factory.mktemp("asked") / "s.vindex"
    shutil.copyfile(smollm2_vindex, path)
    requests = []
    for relation in ("capital", "atomic_number"):
        pack = PACKS[relation]
        some = tuple(fact for fact in pack.facts if fact.entity not in ("Portugal", "Italy", "silver"))[:20]
        wordings = tuple(templates(pack)[:2])
        requests.append(Request(relation, templates=wordings, facts=some, source=pack.source))
    run(path, requests)
    return path


def test_edges_of_a_probe(asked):
    with closing(larqldb.connect(asked, read_only=True)) as connection:
        rows = connection.execute(
            "SELECT target, confidence FROM edges WHERE entity = 'Japan' AND relation = 'capital' AND source = 'probe'"
        ).fetchall()
        assert rows[0][0] == "Tokyo"
        assert rows[0][1] > 0.5
        evidence = connection.execute(
            "SELECT sum(contribution), max(logit), max(decisive) FROM edge_evidence JOIN edge_records USING (edge_id) "
            "WHERE entity = 'Japan' AND target = 'Tokyo'"
        ).fetchone()
        assert 5 < evidence[0] < evidence[1]
        assert 1 <= evidence[2] <= 32


@pytest.mark.parametrize(
    ("entity", "relations"), [("Italy", {"capital"}), ("silver", {"atomic_number"}), ("quickly", set())]
)
def test_only_what_makes_sense_is_asked(asked, entity, relations):
    with closing(larqldb.connect(asked, read_only=True)) as connection:
        assert {found.relation for found in ask_entity(connection.session, entity, least=0)} == relations
