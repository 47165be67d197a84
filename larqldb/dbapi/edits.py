"""INSERT, DELETE and UPDATE on EDGES: each in a transaction, each with a report of what it did as its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from larqldb.dbapi.parameters import Bindings, counted
from larqldb.edit.report import Report
from larqldb.errors import ProgrammingError
from larqldb.storage import edits

if TYPE_CHECKING:
    import apsw

    from larqldb.dbapi.connection import Connection
    from larqldb.dbapi.watch import Description
    from larqldb.edit.editor import Editor
    from larqldb.lql import nodes
    from larqldb.storage.edits import Match

Row = tuple[Any, ...]

_KINDS = ("TEXT", "TEXT", "TEXT", "INTEGER", "INTEGER", "TEXT", *("REAL",) * 5, "TEXT")
REPORTED: Description = tuple(
    (name, kind, None, None, None, None, None) for name, kind in zip(Report._fields, _KINDS, strict=True)
)
MODE = Report._fields.index("mode")
_ASSOCIATIONS = "the condition holds for no fact, only for associations read off the weights"
_TAKE_AWAY = "To take away a feature that they were read off: DELETE FROM EDGES WHERE layer = … AND feature = …"
_INSERT = "INSERT INTO EDGES adds a fact"
_OTHERS = frozenset({"entity", "relation", "target", "score", "confidence", "source"})


@contextmanager
def writing(connection: Connection) -> Iterator[apsw.Connection]:
    """A statement's changes, all or none; a transaction begins where there is none, as before plain SQL."""
    db = connection.database
    began = not db.in_transaction
    if began:
        db.execute("BEGIN IMMEDIATE")
    try:
        with db:
            edits.lock(db)
            yield db
    except BaseException:
        if began and db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if began and connection.autocommit:
        db.execute("COMMIT")


def insert(command: Any, given: Bindings, connection: Connection) -> list[Row]:
    """INSERT INTO EDGES; see ``Editor.insert`` for errors."""
    facts = command.rows if isinstance(command.rows, tuple) else _selected(command.rows, given, connection)
    editor = connection.editor
    with writing(connection):
        return [
            *editor.insert_all(
                facts, layer=command.layer, confidence=command.confidence, alpha=command.alpha, mode=command.mode,
                regression=command.regression,
            )
        ]  # fmt: skip


def delete(command: Any, given: Bindings, connection: Connection) -> list[Row]:
    """DELETE FROM EDGES: facts, or where the condition is about layer and feature alone, features.

    An association read off the weights goes, with its feature, where the condition names feature or source.
    Raises ProgrammingError for one that names nothing but associations otherwise.
    """
    from larqldb.lql.fragments import fragment_sql

    condition, editor = fragment_sql(command.where), connection.editor
    with writing(connection) as db:
        bound = bound_for(condition, given)
        if _is_of_features(command.where):
            features = edits.matching_features(db, condition, bound)
            if features:
                return [*editor.delete_features(features)]
        found = edits.matching(db, condition, bound)
        facts = _facts(found) or _own(editor, command.where, given)
        static = [edge for edge in found if edge.source == "static"]
        named = {(edge.fact, edge.entity, edge.relation, edge.target): edge for edge in facts}
        rows = [editor.delete(edge) for edge in named.values()]
        if static and not _names(command.where) & {"feature", "source"}:
            if not facts:
                raise ProgrammingError(f"{_ASSOCIATIONS}. {_TAKE_AWAY}")
            static = []
        places = [(edge.layer, edge.feature) for edge in static if edge.layer is not None and edge.feature is not None]
        return [*(row for row in rows if row is not None), *(editor.delete_features(places) if places else ())]


def update(command: Any, given: Bindings, connection: Connection) -> list[Row]:
    """UPDATE EDGES; a value may be an expression over the edge's columns. Associations stay as they are.

    Raises ProgrammingError where the condition names nothing else.
    """
    from larqldb.lql.fragments import fragment_sql
    from larqldb.lql.nodes import Fragment

    expressions = [fragment_sql(value) for _, value in command.assignments if isinstance(value, Fragment)]
    condition, editor = fragment_sql(command.where), connection.editor
    with writing(connection) as db:
        found = edits.matching(db, condition, bound_for(" ".join([*expressions, condition]), given), expressions)
        facts = _facts(found) or ([] if expressions else _own(editor, command.where, given))
        if found and not facts:
            raise ProgrammingError(f"{_ASSOCIATIONS}. {_INSERT}")
        rows: list[Row] = []
        done: set[tuple[str, str, str]] = set()
        for edge in facts:
            if (edge.entity, edge.relation, edge.target) in done:
                if edge.fact is not None:
                    editor.delete(edge)  # the same, inserted once more
                continue
            done.add((edge.entity, edge.relation, edge.target))
            asked = iter(edge.values)
            changes = {
                column: next(asked) if isinstance(value, Fragment) else value for column, value in command.assignments
            }
            rows.append(editor.update(edge, changes))
        return rows


def rebalance(command: Any, connection: Connection) -> list[Row]:
    """REBALANCE; see ``upkeep.rebalance``."""
    from larqldb.edit import upkeep

    with writing(connection):
        return [
            *upkeep.rebalance(
                connection.editor, passes=command.maximum, until_converged=command.until_converged,
                floor=command.floor, ceiling=command.ceiling,
            )
        ]  # fmt: skip


def compact_minor(connection: Connection) -> list[Row]:
    """COMPACT MINOR; see ``upkeep.compact_minor``."""
    from larqldb.edit import upkeep

    with writing(connection):
        return [*upkeep.compact_minor(connection.editor)]


def compact_major(command: Any, connection: Connection) -> list[Row]:
    """COMPACT MAJOR; see ``upkeep.compact_major``."""
    from larqldb.edit import upkeep

    with writing(connection):
        return [*upkeep.compact_major(connection.editor, full=command.full, ridge=command.ridge)]


def _selected(query: nodes.Fragment, given: Bindings, connection: Connection) -> list[Any]:
    """The facts that a query gives, read before any is inserted."""
    from larqldb.lql.fragments import fragment_sql

    sql = fragment_sql(query, ())
    rows = connection.database.execute(sql, bound_for(sql, given)).fetchall()
    if rows and len(rows[0]) != 3:
        columns = counted(len(rows[0]), "column")
        raise ProgrammingError(f"INSERT INTO EDGES takes entity, relation and target; the query has {columns}")
    return rows


def bound_for(sql: str, given: Bindings) -> Bindings:
    """The parameters that a part of a statement uses: SQLite wants no more of them than the largest number."""
    if isinstance(given, Mapping):
        return given
    return tuple(given)[: max((int(key) for key in parameters(sql) if isinstance(key, int)), default=0)]


def parameters(sql: str) -> list[int | str]:
    """The keys of the parameters in a piece of SQL or LQL: numbers from 1, or names."""
    from larqldb.lql.tokens import Kind, tokenize

    texts = [token.text for token in tokenize(sql, fragment=True) if token.kind is Kind.PARAMETER]
    return [int(text[1:]) if text[1:].isdigit() else text[1:] for text in texts]


def _is_of_features(where: nodes.Fragment) -> bool:
    """Whether a condition names features by number and nothing that only facts have."""
    names = _names(where)
    return "feature" in names and not names & _OTHERS


def _names(where: nodes.Fragment) -> set[str]:
    """The words of a condition, its columns among them, in lower case."""
    from larqldb.lql.tokens import Kind, tokenize

    return {
        token.value.lower() for token in tokenize(where.text, fragment=True) if token.kind in (Kind.WORD, Kind.NAME)
    }


def _facts(found: Sequence[Match]) -> list[Match]:
    """Those of some edges that are facts and not read off the weights, inserted ones first."""
    return sorted((edge for edge in found if edge.source != "static"), key=lambda edge: edge.fact is None)


def _own(editor: Editor, where: nodes.Fragment, given: Bindings) -> list[Match]:
    """The fact that ``entity = … AND relation = …`` names, or with a target too, where the model itself answers it."""
    from larqldb.lql.tokens import Kind, tokenize

    tokens = [token for token in tokenize(where.text, fragment=True) if token.kind is not Kind.END]
    facts: dict[str, Any] = {}
    for start in range(0, len(tokens), 4):
        part = tokens[start : start + 4]
        if len(part) < 3 or not part[1].is_operator("=") or (len(part) == 4 and not part[3].is_word("AND")):
            return []
        value: Any = part[2].value
        if part[2].kind is Kind.PARAMETER:
            key = parameters(part[2].text)[0]
            value = given[key - 1 if isinstance(key, int) else key]  # type: ignore[index]
        elif part[2].kind not in (Kind.STRING, Kind.QUOTED):
            return []
        facts[part[0].value.lower()] = value
    if set(facts) | {"target"} != {"entity", "relation", "target"}:
        return []
    own = editor.own(**facts) if all(isinstance(value, str) for value in facts.values()) else None
    return [] if own is None else [own]
