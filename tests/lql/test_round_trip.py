"""Any node, printed and parsed again, is the same node; the strategies come from the grammar's own table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larqldb.lql import nodes, parse, render
from larqldb.lql.fragments import EDGE_COLUMNS
from larqldb.lql.grammar import FORMS, Clause, Form, Kind, Operand

# Parameters of one statement are all numbered or all named.
STYLES = (
    st.integers(1, 32766).map(nodes.Parameter),
    st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True).map(nodes.Parameter),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def expressions(parameters: st.SearchStrategy[nodes.Parameter]) -> st.SearchStrategy[nodes.Fragment]:
    """Fragments as parsing leaves them, made of text with odd spaces, quotes and nesting."""
    strings = st.text(max_size=5)
    leaves = st.one_of(
        st.sampled_from(["1", "-2.5e3", "x'00ff'", "NULL", "[a b]", "`c`", "e.entity", "/* c */ 4", "5 -- c\n"]),
        st.sampled_from(EDGE_COLUMNS),
        strings.map(lambda value: render(nodes.Use(value)).removeprefix("USE ")),
        strings.map(lambda value: '"' + render(nodes.Use(value))[5:-1] + '"'),
        parameters.map(str),
    )

    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(inner, st.sampled_from(["=", " != ", " AND ", "\nOR ", " LIKE ", "||", " IS NOT "]), inner).map(
                "".join
            ),
            inner.map(lambda text: f"NOT ({text})"),
            st.lists(inner, min_size=1, max_size=3).map(lambda items: f"entity IN ({', '.join(items)})"),
            inner.map(lambda text: f"lower( {text} )"),
            inner.map(lambda text: f"EXISTS (SELECT 1 FROM t WHERE {text})"),
        )

    def to_fragment(text: str) -> nodes.Fragment:
        node = parse(f"DELETE FROM EDGES WHERE {text}")
        assert isinstance(node, nodes.Delete)
        return node.where

    return st.recursive(leaves, extend, max_leaves=6).map(to_fragment)


def values(part: Operand | Clause, parameters: st.SearchStrategy[nodes.Parameter]) -> st.SearchStrategy[Any]:
    text = st.text() | parameters
    number = st.integers(-(2**63) + 1, 2**63 - 1) | FINITE | parameters
    layer = st.integers(0, 99) | parameters
    options = st.sampled_from(part.options or ("",)).map(str.lower)
    match part.kind:
        case Kind.TEXT:
            return text
        case Kind.SOURCE:
            return text | st.none()
        case Kind.INTEGER:
            return st.integers(0, 2**63 - 1) | parameters
        case Kind.COUNT:
            return st.integers(1, 2**63 - 1) | parameters
        case Kind.NUMBER:
            return number
        case Kind.LAYERS:
            up = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted)
            return up.map(lambda ends: nodes.Layers(*ends)) | st.builds(nodes.Layers, parameters, layer)
        case Kind.CHOICE:
            return options
        case Kind.CHOICES:
            return st.lists(options, min_size=1, unique=True).map(tuple)
        case Kind.CONDITION:
            return expressions(parameters)
        case Kind.ASSIGNMENTS:
            return assignments(text | number, expressions(parameters))
        case Kind.ROWS:
            rows = st.lists(st.tuples(text, text, text), min_size=1, max_size=3).map(tuple)
            return rows | expressions(parameters).map(lambda one: nodes.Fragment(f"SELECT 'a', {one.text}, c FROM t"))
    raise AssertionError(part.kind)


def assignments(literals: st.SearchStrategy[Any], fragments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def as_read(fragment: nodes.Fragment) -> Any:
        node = parse(f"UPDATE EDGES SET score = {fragment.text} WHERE 1")
        assert isinstance(node, nodes.Update)
        return node.assignments[0][1]

    one = st.tuples(st.sampled_from(EDGE_COLUMNS), literals | fragments.map(as_read))
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda pair: pair[0]).map(tuple)


@st.composite
def statements(draw: st.DrawFn, form: Form) -> nodes.Statement:
    parameters = draw(st.sampled_from(STYLES))
    fields: dict[str, Any] = {}
    for item in form.head:
        if isinstance(item, Operand):
            fields[item.field] = draw(values(item, parameters))
    node = form.node
    chosen: list[Clause] = []
    for clause in draw(st.permutations(form.clauses)):
        excluded = any(clause.field in one.excludes or one.field in clause.excludes for one in chosen)
        if not draw(st.booleans()) or clause.field in fields or excluded:
            continue
        if clause.only is not None and fields[clause.only[0]] != clause.only[1]:
            continue
        fields[clause.field] = clause.value if clause.kind is None else draw(values(clause, parameters))
        chosen.append(clause)
        node = clause.becomes or node
    return node(**fields)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_statement(form: Form) -> None:
    @settings(deadline=None, max_examples=60)
    @given(statements(form))
    def check(node: nodes.Statement) -> None:
        assert parse(render(node)) == node

    check()


@settings(deadline=None)
@given(st.sampled_from(["edges", "features", "entities"]), st.text(), st.integers(0, 99), st.none() | st.text())
def test_nearest(table: str, text: str, layer: int, alias: str | None) -> None:
    if alias is not None and "\0" in alias:
        alias = alias.replace("\0", "")
    node = nodes.Select(("SELECT * FROM ", nodes.Nearest(table, text, layer, alias), " WHERE layer > 1"))
    assert parse(render(node)) == node


STAGES = st.one_of(
    st.sampled_from(["SELECT * FROM _", "VALUES (1, '|>')", "WITH a AS (SELECT 1) SELECT * FROM a, _"]).map(nodes.Sql),
    st.text().map(nodes.Describe),
    st.just(nodes.Select(("SELECT * FROM ", nodes.Nearest("edges", "x", 1)))),
)


@settings(deadline=None)
@given(st.lists(STAGES, min_size=2, max_size=5))
def test_pipes(stages: list[nodes.Statement]) -> None:
    node = nodes.Pipe(tuple(stages))
    assert parse(render(node)) == node


def test_accept_list(accepted: str) -> None:
    node = parse(accepted)
    assert parse(render(node)) == node
