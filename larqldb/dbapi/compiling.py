"""COMPILE: the vindex with its edits as model files, or as a vindex without patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from larqldb.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    from larqldb.dbapi.connection import Connection
    from larqldb.dbapi.watch import Description
    from larqldb.lql import nodes

Row = tuple[Any, ...]

_KINDS = {
    "what": "TEXT", "where": "TEXT", "how_many": "INTEGER", "bytes": "INTEGER", "probability": "REAL", "note": "TEXT"
}  # fmt: skip
COMPILED: Description = tuple((name, kind, None, None, None, None, None) for name, kind in _KINDS.items())


def compiled(command: nodes.Compile, connection: Connection) -> list[Row]:
    """The current vindex, or a file, as it is now, uncommitted edits included.

    Errors as of ``compile_model`` and ``compile_vindex``.
    """
    target = _text(command.target)
    if command.source is None:
        return _write(connection, target, command)
    from larqldb.dbapi.connection import connect

    with closing(connect(_text(command.source), read_only=True)) as other:
        return _write(other, target, command)


def _write(connection: Connection, target: str, command: nodes.Compile) -> list[Row]:
    with _still(connection):
        if command.kind == "vindex":
            from larqldb.compile.vindex import compile_vindex

            return [*map(tuple, compile_vindex(connection.session, target, on_conflict=command.on_conflict))]
        from larqldb.compile.model_files import compile_model

        rows = compile_model(
            connection.session, target, form=command.format, quant=command.quant, slots=command.slots or "grow",
            texts=lambda: _texts(connection), ask=connection.reports,
        )  # fmt: skip
    return [tuple(row) for row in rows]


def _texts(connection: Connection) -> Sequence[Sequence[int]]:
    """What the features that do least are measured on, as token ids."""
    from larqldb.edit import background

    return background.texts(connection.editor.model)


@contextmanager
def _still(connection: Connection) -> Iterator[None]:
    """One state of the file."""
    db = connection.database
    began = not db.in_transaction
    if began:
        db.execute("BEGIN")
    try:
        yield
    finally:
        if began and db.in_transaction:
            db.execute("ROLLBACK")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InterfaceError(f"a path must be text, not {type(value).__name__}")
    if not value:
        raise ProgrammingError("the path is empty. Name what to write, or what to read")
    return value
