"""Whatever comes in, a node or a PEP 249 error comes out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larqldb import errors
from larqldb.lql import nodes, parse, print_sql, render, split
from larqldb.lql.sqlite_syntax import find_problem

if TYPE_CHECKING:
    from tests.lql.conftest import Vindex

WORDS = """
WALK INFER DESCRIBE SHOW FEATURES LAYERS AT LAYER TOP MODE PURE WHERE NEAREST TO EDGES FROM SELECT * INSERT INTO VALUES
( ) , ; |> | = - -1 0 5 1e999 0x 'a' "b" "\\ ? ?1 :a @x -- /* */ . x'0' [ ` LIMIT UPDATE SET DELETE ALL
"""


@pytest.fixture(scope="module")
def everything(accept_list: list[str]) -> str:
    return "\n".join(accept_list)


def check(text: str, vindex: Vindex) -> None:
    try:
        node = parse(text)
    except errors.LQLSyntaxError:
        return
    assert isinstance(node, nodes.Statement)
    if isinstance(node, nodes.Command):
        with pytest.raises(errors.NotAQuery):
            print_sql(node)
        return
    sql = print_sql(node)
    if isinstance(node, nodes.Sql):
        assert sql == text
        return
    assert parse(render(node)) == node
    if not isinstance(node, nodes.Select | nodes.Pipe):
        assert find_problem(sql) is None
    with contextlib.suppress(apsw.SQLError, apsw.BindingsError):
        vindex.db.execute(sql)


@settings(deadline=None)
@given(text=st.text())
def test_any_text(text: str, shared_vindex: Vindex) -> None:
    check(text, shared_vindex)


@settings(deadline=None)
@given(text=st.text(alphabet=st.characters()))
def test_any_text_with_surrogates(text: str, shared_vindex: Vindex) -> None:
    check(f'DESCRIBE "{text}"', shared_vindex)


@settings(deadline=None, max_examples=300)
@given(
    words=st.lists(st.sampled_from(WORDS.split()), max_size=12),
    first=st.sampled_from(["WALK ", "SELECT ", "INSERT INTO EDGES ", ""]),
)
def test_any_words(words: list[str], first: str, shared_vindex: Vindex) -> None:
    check(first + " ".join(words), shared_vindex)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_mangled_statements(data: st.DataObject, accept_list: list[str], shared_vindex: Vindex) -> None:
    text = data.draw(st.sampled_from(accept_list))
    other = data.draw(st.sampled_from(accept_list))
    for _ in range(data.draw(st.integers(1, 4))):
        begin, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        piece = data.draw(
            st.sampled_from(["", text[begin:end] * 2, other, other[begin:end], "'", '"', "\\", ";", "\0", "|>", "?"])
        )
        text = text[:begin] + piece + text[end:]
    check(text, shared_vindex)


@settings(deadline=None)
@given(st.text())
def test_any_script_is_split(text: str) -> None:
    assert all(piece and piece in text for piece in split(text))
