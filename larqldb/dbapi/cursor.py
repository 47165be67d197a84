"""Cursor: runs a statement and hands out its rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import apsw

from larqldb.dbapi.commands import changes_edges, run_many
from larqldb.dbapi.failures import translate
from larqldb.dbapi.parameters import Bindings, Parameters, binding_problem, bindings, counted
from larqldb.dbapi.statements import Plan, plan, script
from larqldb.dbapi.watch import Description, Watch, check_parts, describe
from larqldb.errors import Error, ProgrammingError

if TYPE_CHECKING:
    from larqldb.dbapi.connection import Connection

Row = tuple[Any, ...]


class Cursor:
    """A PEP 249 cursor.

    Rows are tuples, read from the file as they are fetched. ``description`` is set for every statement that gives
    rows, also when it gives none; its ``type_code`` is the column's declared type. ``rowcount`` is the number of rows
    a statement changed, -1 for those that change none. ``lastrowid`` is the rowid of the last row inserted.
    """

    arraysize = 1
    rowcount = -1
    lastrowid: int | None = None

    _description: Description | None = None
    _rows: Iterator[Row] | None = None
    _watch: Watch | None = None  # of the statement that runs; None where there is nothing to watch

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self._database = connection.database
        self._apsw = self._database.cursor()

    @property
    def connection(self) -> Connection:
        """The connection this cursor was made by; ProgrammingError when the cursor is closed."""
        if self._connection is None:
            raise ProgrammingError("the cursor is closed")
        return self._connection

    @property
    def description(self) -> Description | None:
        """One 7-tuple per column, name and declared type first; None when the last statement gives no rows."""
        return self._description

    def execute(self, operation: str, parameters: Parameters = (), /) -> Cursor:
        """Run one statement of SQL or LQL and return this cursor.

        Placeholders are ``?`` with a sequence, or ``:name`` with a mapping. A transaction begins before the first
        INSERT, UPDATE, DELETE or REPLACE. Raises LQLSyntaxError with the place of a mistake, ProgrammingError for the
        wrong number of parameters or a second statement, InterfaceError for a value SQLite cannot store.
        """
        self._ready()
        todo = plan(operation)
        given = bindings(parameters)
        if todo.reads:
            self._read(todo, given, operation)
        elif todo.command is None:
            self._run(todo, given, operation)
        else:
            self._command(todo.command, [given], operation)
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Parameters], /) -> Cursor:
        """Run an INSERT, UPDATE, DELETE or REPLACE once for each set of parameters.

        ``rowcount`` is the total. The rows before one that fails stay, uncommitted. On EDGES the reports of all are the
        rows.
        """
        self._ready()
        todo = plan(operation)
        if changes_edges(todo.command):
            self._command(todo.command, map(bindings, seq_of_parameters), operation)
            return self
        if todo.command is not None or todo.lowered:
            raise ProgrammingError("executemany takes INSERT, UPDATE, DELETE and REPLACE only; use execute")
        given: Bindings = ()

        def converted() -> Iterator[Bindings]:
            nonlocal given
            for parameters in seq_of_parameters:
                given = bindings(parameters)
                yield given

        watch = self._watched(operation, many=True)
        try:
            self._apsw.executemany(operation, converted())
            self._finish(watch)
        except Exception as problem:
            self._fail(problem, operation, given, started=watch.started)
        return self

    def executescript(self, sql_script: str, /) -> Cursor:
        """Run several statements separated by ``;``, SQL and LQL alike; their rows are discarded.

        An open transaction is committed first, as in the standard library's sqlite3; statements then commit one by
        one unless the script has its own BEGIN.
        """
        self._ready()
        self.connection.commit()
        for statement in script(sql_script):
            was_open = self.connection.in_transaction
            self.execute(statement)
            for _ in self._rows or ():
                pass
            began = self._watch.began if self._watch is not None else plan(statement).command is not None
            if began and not was_open:
                self.connection.commit()
        self._description = self._rows = None
        return self

    def fetchone(self) -> Row | None:
        """The next row, or None after the last one. Raises ProgrammingError where there is no result."""
        rows = self._result()
        try:
            return next(rows, None)
        except Exception as problem:
            self._fail(problem, "", ())

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next ``size`` rows (``arraysize`` where not given), fewer or none at the end."""
        rows, wanted = self._result(), self.arraysize if size is None else size
        try:
            return list(islice(rows, max(0, wanted)))
        except Exception as problem:
            self._fail(problem, "", ())

    def fetchall(self) -> list[Row]:
        """All remaining rows."""
        rows = self._result()
        try:
            return list(rows)
        except Exception as problem:
            self._fail(problem, "", ())

    def peek(self, size: int) -> list[Row]:
        """The next ``size`` rows, fewer or none at the end; they stay to be fetched."""
        rows = self._result()
        ahead = rows if isinstance(rows, _Ahead) else _Ahead(rows)
        self._rows = ahead
        try:
            return ahead.peek(size)
        except Exception as problem:
            self._fail(problem, "", ())

    def __iter__(self) -> Iterator[Row]:
        """The remaining rows, one by one."""
        rows = self._result()
        try:
            yield from rows
        except Exception as problem:
            self._fail(problem, "", ())

    def __next__(self) -> Row:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def close(self) -> None:
        """End the statement and the cursor; anything else then raises ProgrammingError. May be called again."""
        if self._connection is not None:
            self._connection = self._rows = None
            self._apsw.close(True)

    def setinputsizes(self, sizes: Sequence[Any], /) -> None:
        """Does nothing: SQLite needs no sizes (PEP 249)."""
        self._ready()

    def setoutputsize(self, size: int, column: int | None = None, /) -> None:
        """Does nothing: SQLite needs no sizes (PEP 249)."""
        self._ready()

    def __enter__(self) -> Cursor:
        self._ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._connection is None:
            return "<larqldb.Cursor, closed>"
        if self._description is not None:
            return f"<larqldb.Cursor of {', '.join(column[0] for column in self._description)}>"
        changed = f", {counted(self.rowcount, 'row')} changed" if self.rowcount >= 0 else ""
        return f"<larqldb.Cursor{changed}>"

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        from larqldb import display

        return display.html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython shows in a terminal."""
        from larqldb import display

        printer.text(display.text(self))

    def _command(self, node: Any, several: Iterable[Bindings], text: str) -> None:
        """Carry out a command once for each set of parameters; its rows are those of all."""
        rows: list[Row] = []
        changed = -1
        try:
            for answer in run_many(node, list(several), self.connection):
                rows += answer.rows
                changed = answer.changed if changed < 0 else changed + answer.changed
                self._description = answer.description
        except Exception as problem:
            self._watch = None
            self._fail(problem, text, ())
        self._attach(self.connection.database)
        self._rows, self.rowcount = iter(rows), changed

    def _run(self, todo: Plan, given: Bindings, text: str) -> None:
        """Run SQL; ``text`` is the statement as the user wrote it."""
        watch = self._watched(todo.sql)
        try:
            self._start(todo, given, text)
            self._description = watch.description
            if watch.writes:
                self._finish(watch)
            elif watch.description is not None:
                self._rows = self._apsw
                todo.reads = watch.reads
        except Exception as problem:
            self._fail(problem, text, given, lowered=todo.lowered, started=watch.started)

    def _start(self, todo: Plan, given: Bindings, text: str) -> None:
        """Hand SQL to SQLite; the index of vectors comes to be when a statement first names one of its tables."""
        session = self.connection.session
        if session.lacking:
            check_parts(self._database, todo.sql, given, text, session.lacking)
        session.look_ahead(todo.prompts, given)
        try:
            self._apsw.execute(todo.sql, given)
        except apsw.SQLError as problem:
            if not session.vectors.provide(str(problem)):
                raise
            self._apsw.execute(todo.sql, given)

    def _read(self, todo: Plan, given: Bindings, text: str) -> None:
        """Run SQL that is known to read only: there is nothing to watch, which would cost more than a short read."""
        if self._watch is not None:
            self._watch = self._apsw.exec_trace = None
        try:
            self._start(todo, given, text)
            self._description = self._apsw.description
            self._rows = self._apsw
        except apsw.ExecutionCompleteError:  # there were no rows, and apsw forgot the columns
            self._description = describe(self._database, todo.sql, given)
            self._rows = iter(())
        except Exception as problem:
            self._fail(problem, text, given, lowered=todo.lowered, started=self._starts(todo.sql, given))

    def _finish(self, watch: Watch) -> None:
        """Complete a statement that changes rows: what it returns is read at once, as it has changed all of them."""
        self._description = watch.description
        rows = list(self._apsw)
        self._rows = iter(rows) if watch.description is not None else None
        self.rowcount = watch.row_count()
        if watch.inserts:
            self.lastrowid = self._database.last_insert_rowid()

    def _fail(
        self, problem: Exception, text: str, given: Bindings, *, lowered: bool = False, started: bool = True
    ) -> NoReturn:
        """Raise what a problem means; before a statement has ``started`` it may be about its parameters."""
        self._rows = None
        error: Error | None = problem if isinstance(problem, Error) else None
        if error is None and not started:
            error = binding_problem(problem, given, text)
        if self._watch is not None:
            self._watch.give_up()
        if error is None:
            error = translate(problem, text, self._database, lowered=lowered)
        raise error from None

    def _starts(self, sql: str, given: Bindings) -> bool:
        """Whether a statement can be prepared and its parameters be bound."""
        try:
            describe(self._database, sql, given)
        except Exception:
            return False
        return True

    def _ready(self) -> None:
        """Forget the last statement; ProgrammingError where the cursor or its connection is closed."""
        connection = self._connection
        if connection is None or connection._database is not self._database:
            self._attach(self.connection.database)
        self._description = self._rows = None
        self.rowcount = -1

    def _attach(self, database: apsw.Connection) -> None:
        """Work on a database: the connection's own, which USE may have changed."""
        self._database = database
        self._apsw = database.cursor()
        self._watch = None

    def _watched(self, sql: str, *, many: bool = False) -> Watch:
        """Have a statement watched that is about to run."""
        watch = Watch(self._database, sql, autocommit=self.connection.autocommit, many=many)
        self._watch = self._apsw.exec_trace = watch
        return watch

    def _result(self) -> Iterator[Row]:
        rows, connection = self._rows, self._connection
        if rows is None or connection is None or connection._database is None:
            self.connection.database  # noqa: B018 - raises where closed
            raise ProgrammingError("there are no rows to fetch: the last statement gave none, or none was run")
        return rows


class _Ahead:
    """Rows that can be looked at before they are taken."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._seen: deque[Row] = deque()
        self._rows = rows

    def __iter__(self) -> _Ahead:
        return self

    def __next__(self) -> Row:
        return self._seen.popleft() if self._seen else next(self._rows)

    def peek(self, size: int) -> list[Row]:
        self._seen.extend(islice(self._rows, max(0, size - len(self._seen))))
        return list(islice(self._seen, max(0, size)))
