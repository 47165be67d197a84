"""The statements that Python runs: those of LQL that are not queries."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from larqldb.dbapi import compiling, edits, merging, patches
from larqldb.dbapi.parameters import Bindings, counted
from larqldb.dbapi.traces import save_trace
from larqldb.errors import Error, InterfaceError, NotSupportedError, ProgrammingError, SourceNotFound
from larqldb.extract import extract
from larqldb.storage.database import MEMORY

if TYPE_CHECKING:
    from larqldb.dbapi.connection import Connection
    from larqldb.dbapi.watch import Description
    from larqldb.lql import nodes

Row = tuple[Any, ...]

# Columns of what EXTRACT and USE answer: one row per thing written or opened.
WRITTEN: Description = tuple(
    (name, kind, None, None, None, None, None)
    for name, kind in (("what", "TEXT"), ("where", "TEXT"), ("how_many", "INTEGER"), ("bytes", "INTEGER"))
)


class Answer(NamedTuple):
    """What a command says: its rows and their description, and how many facts it changed where it changes facts."""

    description: Description
    rows: Sequence[Row]
    changed: int = -1


def run_command(node: nodes.Command, given: Bindings, connection: Connection) -> Answer:
    """Carry out a command.

    Raises NotSupportedError, naming the statement, for commands this version does not have.
    """
    from larqldb.lql import nodes

    command: Any = bind(node, given)
    match command:
        case nodes.Extract():
            return Answer(WRITTEN, _extract(command))
        case nodes.Use():
            return Answer(WRITTEN, _use(_text(command.path), connection))
        case nodes.UseModel():
            return Answer(WRITTEN, _use_model(_text(command.model), command.auto_extract, connection))
        case nodes.TraceSave():
            return Answer(WRITTEN, save_trace(command, connection))
        case nodes.Merge():
            return Answer(WRITTEN, merging.merge(command, connection))
        case nodes.DiffIntoPatch():
            return Answer(WRITTEN, merging.diff_into_patch(command, connection))
        case nodes.BeginPatch():
            return Answer(WRITTEN, patches.begin(command.patch, connection))
        case nodes.SavePatch():
            return Answer(WRITTEN, patches.save(command.patch, connection))
        case nodes.ApplyPatch():
            return Answer(WRITTEN, patches.apply(command.patch, connection))
        case nodes.RemovePatch():
            return Answer(WRITTEN, patches.remove(command.patch, connection))
        case nodes.Compile():
            return Answer(compiling.COMPILED, compiling.compiled(command, connection))
        case nodes.Rebalance():
            return _reported(edits.rebalance(command, connection))
        case nodes.CompactMinor():
            return _reported(edits.compact_minor(connection))
        case nodes.CompactMajor():
            return _reported(edits.compact_major(command, connection))
        case nodes.Insert():
            return _reported(edits.insert(command, given, connection))
        case nodes.Delete():
            return _reported(edits.delete(command, given, connection))
        case nodes.Update():
            return _reported(edits.update(command, given, connection))
    raise NotSupportedError(f"{_name(node)} is not available in this version of larqldb")


def run_many(node: nodes.Command, several: Sequence[Bindings], connection: Connection) -> Iterator[Answer]:
    """Carry out a command for each set of parameters; facts to insert go in together.

    Where that fails they go in one by one, so that those before the one that fails stay.
    """
    from larqldb.lql import nodes

    if isinstance(node, nodes.Insert) and isinstance(node.rows, tuple) and len(several) > 1:
        with suppress(Error):
            bound = [bind(node, given) for given in several]
            if len({dataclasses.replace(each, rows=()) for each in bound}) == 1:
                together = dataclasses.replace(bound[0], rows=tuple(row for each in bound for row in each.rows))
                yield _reported(edits.insert(together, (), connection))
                return
    for given in several:
        yield run_command(node, given, connection)


def changes_edges(node: object) -> bool:
    """Whether a node is INSERT, DELETE or UPDATE on EDGES."""
    return node is not None and type(node).__name__ in ("Insert", "Delete", "Update")


def _reported(rows: Sequence[Row]) -> Answer:
    """The reports of an edit; a fact that needed nothing was not changed."""
    return Answer(edits.REPORTED, [tuple(row) for row in rows], sum(row[edits.MODE] is not None for row in rows))


def bind(node: Any, given: Bindings) -> Any:
    """A node with every parameter replaced by the value given for it; ProgrammingError where the counts differ."""
    from larqldb.lql.nodes import Fragment, Parameter

    used: set[int | str] = set()

    def value(part: Any) -> Any:
        if isinstance(part, Parameter):
            used.add(part.key)
            return _look_up(part.key, given)
        if isinstance(part, Fragment):  # SQL: bound when it runs
            for key in edits.parameters(part.text):
                used.add(key)
                _look_up(key, given)
            return part
        if isinstance(part, tuple):
            return tuple(value(item) for item in part)
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            changed = {field.name: value(getattr(part, field.name)) for field in dataclasses.fields(part)}
            return dataclasses.replace(part, **changed)
        return part

    bound = value(node)
    if not isinstance(given, Mapping) and len(given) > len(used):
        raise ProgrammingError(f"the statement has {counted(len(used), 'parameter')}, {len(given)} given")
    return bound


def _look_up(key: int | str, given: Bindings) -> Any:
    if isinstance(key, int) == isinstance(given, Mapping):
        wanted = "a sequence" if isinstance(key, int) else "a mapping"
        raise ProgrammingError(f"parameter {key} needs {wanted} of parameters")
    try:
        return given[key - 1 if isinstance(key, int) else key]  # type: ignore[index]
    except (IndexError, KeyError):
        raise ProgrammingError(f"no value given for parameter {key}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InterfaceError(f"a name or path must be text, not {type(value).__name__}")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise InterfaceError(f"a layer must be a whole number, not {type(value).__name__}")
    return value


def _extract(command: nodes.Extract) -> list[Row]:
    if command.components is not None:
        raise NotSupportedError("COMPONENTS is not available in this version; choose WITH INFERENCE or WITH ALL")
    bounds: Any = command.layers
    layers = None if bounds is None else (_integer(bounds.first), _integer(bounds.last))
    level = "inference" if command.level == "inference" else "all"  # WITH WEIGHTS is WITH ALL
    report = extract(_text(command.model), _text(command.target), level=level, layers=layers)
    return list(report.rows())


def _use(path: str, connection: Connection) -> list[Row]:
    if "://" in path:
        raise NotSupportedError(f"USE {path}: only files on this machine can be used in this version")
    connection.switch(path)
    features = connection.database.execute("SELECT count(*) FROM features").get
    size = os.stat(path).st_size if path != MEMORY else None
    return [("vindex", path, features, size)]


def _use_model(model: str, auto_extract: bool, connection: Connection) -> list[Row]:
    path = Path(model.partition("@")[0]).name.removesuffix(".gguf") + ".vindex"
    written: list[Row] = []
    if not os.path.exists(path):
        if not auto_extract:
            remedy = f"Make it with: USE MODEL '{model}' AUTO_EXTRACT"
            raise SourceNotFound(source=path, remedy=remedy)
        connection.require_no_transaction()
        written = list(extract(model, path).rows())
    return written + _use(path, connection)


def _name(node: object) -> str:
    """COMPACT MAJOR from CompactMajor; the words of INSERT, DELETE and UPDATE on EDGES."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()
    return {"INSERT": "INSERT INTO EDGES", "DELETE": "DELETE FROM EDGES", "UPDATE": "UPDATE EDGES"}.get(words, words)
