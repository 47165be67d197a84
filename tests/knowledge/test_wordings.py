from __future__ import annotations

from contextlib import closing

import pytest

import larqldb
from larqldb.errors import BadPrompt, ProgrammingError
from larqldb.knowledge.packs import builtin
from larqldb.knowledge.wordings import check, check_entity, check_lengths, prompt, templates, with_examples, with_worked

WORKED = "Norway's capital is Oslo\n{entity}'s capital is"


def test_a_prompt_names_the_entity():
    assert prompt("The capital of {entity} is", "France") == "The capital of France is"
    assert prompt("{entity}: {entity}", "a") == "a: a"
    assert prompt(WORKED, "France") == "Norway's capital is Oslo\nFrance's capital is"


@pytest.mark.parametrize("entity", ["Norway", "norway", "Oslo"])
def test_no_prompt_holds_its_own_answer(entity):
    assert prompt(WORKED, entity) == f"{entity}'s capital is"


def test_an_entity_inside_a_word_is_another():
    assert prompt(WORKED, "Nor").startswith("Norway's")


def test_names_that_look_like_patterns():
    assert prompt("a.b is 1\n{entity} is", "a+b") == "a.b is 1\na+b is"
    assert prompt(WORKED, r"\1") == "Norway's capital is Oslo\n\\1's capital is"


def test_examples_come_first():
    assert with_examples("{entity}:", [("a", "1"), ("b", "2")]) == "a: 1\nb: 2\n{entity}:"


def test_plain_wordings_are_asked_with_examples_too():
    facts = {"a": ["1"], "b": ["1"], "c": ["2"], "d": ["3"]}
    assert with_worked(["{entity}:"], [], facts, 2) == ["{entity}:", "a: 1\nc: 2\n{entity}:"]
    assert with_worked(["x\n{entity}:"], [], facts, 2) == ["x\n{entity}:"]
    assert with_worked(["{entity}:"], [], facts, 0) == ["{entity}:"]
    assert with_worked(["{entity}:"], [], {}, 2) == ["{entity}:"]
    assert with_worked(["{entity}:"], ["z: 9\n{entity}:"], facts, 2) == ["{entity}:", "z: 9\n{entity}:"]


@pytest.mark.parametrize("template", ["The capital is", "{entity} is here\nwhere", "{Entity}", ""])
def test_templates_without_an_entity_are_refused(template):
    with pytest.raises(ProgrammingError, match=r"does not hold \{entity\}"):
        check(template)


def test_a_template_must_be_text():
    with pytest.raises(ProgrammingError, match="must be text, not int"):
        check(3)


def test_every_built_in_wording_can_be_asked():
    for pack in builtin():
        assert [check(template) for template in templates(pack)]


@pytest.mark.parametrize("entity", ["", " ", "\u00a0\n", "\u200b", "<|endoftext|>"])
def test_entities_without_tokens_are_refused(tiny_extracted, entity):
    with closing(larqldb.connect(tiny_extracted, read_only=True)) as connection:
        with pytest.raises(BadPrompt, match="has no tokens"):
            check_entity(connection.session.tokenizer, entity)
        with pytest.raises(ProgrammingError, match="must be text"):
            check_entity(connection.session.tokenizer, 7)


def test_prompts_longer_than_the_context_are_refused(tiny_extracted):
    with closing(larqldb.connect(tiny_extracted, read_only=True)) as connection:
        check_lengths(connection.session, ["{entity} is"], ["Paris"])
        with pytest.raises(BadPrompt, match="the model reads at most 128"):
            check_lengths(connection.session, ["{entity} is"], ["Paris", "qx" * 70])
