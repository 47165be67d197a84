"""Whom else an edit asks: names like the entity's, other wordings, other questions."""

import pytest

from larqldb.edit.asking import Askings, alike, paraphrases
from larqldb.knowledge import packs
from larqldb.storage.database import open_database

OTHERS = ["France", "South Korea", "Costa Rica", "Japan", "Peru"]


@pytest.mark.parametrize(
    ("entity", "among"),
    [
        ("New York", {"York", "New"}),
        ("Land1False", {"Land1", "Land2False"}),
        ("Atlantis", {"New Atlantis", "Atlantio"}),
        ("Entity 42", {"Entity", "42"}),
        ("東京", {"New 東京"}),
        ("a", {"New a"}),
    ],
)
def test_names_that_are_alike(entity, among):
    found = alike(entity, OTHERS)
    assert among <= set(found)
    assert len(found) == len(set(found))
    assert all(name.strip() for name in found)


def test_a_name_with_several_words_is_exchanged_with_several_others():
    assert len([name for name in alike("Ferry County", OTHERS) if name.endswith(" County")]) >= 2


def test_paraphrases_are_of_packs_and_ask_for_one_entity_each():
    known = {pack.relation: pack for pack in packs.builtin()}
    assert paraphrases().keys() == known.keys()
    for relation, wordings in paraphrases().items():
        assert len(set(wordings)) == len(wordings) >= 14
        assert all(wording.count(packs.SLOT) == 1 and wording == wording.strip() for wording in wordings)
        assert not set(wordings) & set(known[relation].wordings)


@pytest.fixture
def askings(tiny_vindex):
    db = open_database(tiny_vindex, read_only=True)
    yield Askings(db)
    db.close()


def test_a_relation_of_a_pack(askings):
    how = askings.of("Atlantis", "capital")
    assert how.prompts[0] == "The capital of Atlantis is"
    assert not how.is_default
    assert not set(how.relation.templates) & set(how.relation.more)
    assert not set(how.relation.names) & set(how.relation.neighbours)
    assert all("Atlantis" not in prompt for prompt in how.neighbours)
    assert not any("capital" in question.template for question in how.relation.beside)


def test_a_relation_that_nothing_is_known_of(askings):
    how = askings.of("  Atlantis ", "liege-lord")
    assert how.prompts[0] == "The liege lord of Atlantis is"
    assert how.is_default
    assert how.relation.names


def test_facts_inserted_before_are_known(conn):
    conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES ('Gondor', 'capital', 'Paris')")
    assert "The capital of Gondor is" in Askings(conn.session.db).of("Atlantis", "capital").earlier


def test_facts_inserted_change_nobody_that_is_asked_of_a_relation(conn):
    """Else all that is read of others would be read again at each fact about a new entity."""
    before = Askings(conn.database).of("Gondor", "capital").relation
    conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES ('Atlantis', 'capital', 'Poseidon')")
    after = Askings(conn.database).of("Gondor", "capital")
    assert after.relation == before
    assert after.earlier == ("The capital of Atlantis is",)
