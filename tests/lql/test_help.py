from __future__ import annotations

import pytest

from larqldb import errors, lql
from larqldb.lql import help_text, nodes, statements
from larqldb.lql.grammar import FORM_OF, FORMS


def test_every_node_has_a_form() -> None:
    parsed_otherwise = {nodes.Statement, nodes.Query, nodes.Command, nodes.Sql, nodes.Select, nodes.Pipe}
    kinds = {one for one in vars(nodes).values() if isinstance(one, type) and issubclass(one, nodes.Statement)}
    assert kinds - parsed_otherwise == set(FORM_OF)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_help_says_all_of_a_statement(form) -> None:  # type: ignore[no-untyped-def]
    text = help_text(form.name.lower())
    for part in (form.syntax, form.summary, form.example, *(clause.means for clause in form.clauses)):
        assert part in text


def test_help_on_a_verb_covers_its_statements() -> None:
    assert "EXPLAIN WALK str" in help_text("EXPLAIN")
    assert "EXPLAIN INFER str" in help_text("EXPLAIN")


def test_list_names_every_statement() -> None:
    assert all(form.name in help_text() for form in statements())
    assert "SELECT" in help_text()
    assert "|>" in help_text()


def test_nearly_a_topic() -> None:
    with pytest.raises(errors.LQLSyntaxError) as caught:
        help_text("describ")
    assert caught.value.hint == "did you mean DESCRIBE?"


def test_public_names_are_sorted_and_there() -> None:
    assert lql.__all__ == sorted(lql.__all__)
    assert all(hasattr(lql, name) for name in lql.__all__)
