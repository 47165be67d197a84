"""What the REPL does with what is typed, whoever reads the keys."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import apsw
import click

from larqldb.cli.interrupts import notice_interrupts
from larqldb.cli.render import Renderer
from larqldb.dbapi import Connection, Cursor, connect
from larqldb.dbapi.cursor import Row
from larqldb.dbapi.failures import closest
from larqldb.dbapi.statements import script
from larqldb.errors import Error, ProgrammingError
from larqldb.lql import help_text
from larqldb.lql.tokens import Kind, scan
from larqldb.lql.verbs import speaks_lql

HELP = r"""\help [STATEMENT]  this list, or what a statement does
\sql               the SQL of the last statement
\timing            show or hide how long statements take
\use FILE          work on another vindex
\q                 leave (Ctrl-D does too)

SQL ends with ";" or an empty line; a statement of LQL may do without. What a statement changes is kept
at once, unless a BEGIN of yours is open. Statements of LQL:

"""


class Stopwatch:
    """How long a statement works, without the time its rows are being looked at."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started

    def rows(self, cursor: Cursor) -> Iterator[Row]:
        """The rows of a cursor, each timed."""
        while True:
            with self:
                row = cursor.fetchone()
            if row is None:
                return
            yield row


def is_complete(text: str) -> bool:
    """Whether what was typed so far can run, rather than go on in the next line."""
    if not text.strip() or text.lstrip().startswith("\\"):
        return True
    tokens = list(scan(text))
    if not tokens:
        return True
    last = tokens[-1]
    if last.kind is Kind.BAD and last.text[0] in "'\"`[":
        return False  # a quote is open
    if text.rstrip(" \t").endswith("\n"):
        return True  # an empty line ends everything else
    if not _is_lql(text):
        return bool(apsw.complete(text + "\n"))  # knows the bodies of triggers; the line end ends a comment
    return not last.is_operator("|>")


class Shell:
    """A connection, its settings and the commands that begin with a backslash."""

    def __init__(self, file: str, render: Renderer, *, interactive: bool) -> None:
        self.connection: Connection = connect(file)
        notice_interrupts(self.connection)
        self.render = render
        self.interactive = interactive
        self.timing = interactive
        self.last = ""
        self.failed = False

    def close(self) -> None:
        """Leave the file; says so where that undoes changes."""
        with suppress(Error):
            if self.connection.in_transaction:
                click.echo("The open transaction was rolled back.", err=True)
        self.connection.close()

    def run(self, text: str) -> bool:
        """Do what was typed and show the outcome; False where it is time to leave."""
        text = text.strip()
        try:
            if text.startswith("\\"):
                return self._command(*(text[1:].rstrip("; ").split(maxsplit=1) or [""]))
            for statement in script(text):
                self._statement(statement)
        except Error as problem:
            self._fail(problem)
        except KeyboardInterrupt:
            self._fail("interrupted")
        return True

    def _statement(self, statement: str) -> None:
        self.last = statement
        watch = Stopwatch()
        pending = self.connection.in_transaction
        with watch:
            cursor = self.connection.execute(statement)
        if cursor.description is not None:
            self.render([column[0] for column in cursor.description], watch.rows(cursor), sys.stdout)
        elif cursor.rowcount >= 0 and self.interactive:
            click.echo(f"{cursor.rowcount:,} row{'' if cursor.rowcount == 1 else 's'} changed")
        if cursor.rowcount >= 0 and not pending:
            self.connection.commit()
        if self.timing:
            click.echo(duration(watch.seconds))

    def _command(self, name: str, argument: str = "") -> bool:
        commands: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "sql": self._sql,
            "timing": self._timing,
            "use": self._use,
        }
        if name in ("q", "quit"):
            return False
        if name not in commands:
            near = closest(name, [*commands, "q"])
            hint = f"Did you mean \\{near}?" if near else "\\help lists the commands"
            raise ProgrammingError(f"there is no command \\{name}. {hint}")
        commands[name](argument)
        return True

    def _help(self, argument: str) -> None:
        click.echo(help_text(argument) if argument else HELP + help_text())

    def _sql(self, argument: str) -> None:
        statement = argument or self.last
        click.echo(self.connection.to_sql(statement) if statement else "No statement was run yet.")

    def _timing(self, argument: str) -> None:
        self.timing = not self.timing
        click.echo(f"Timing is {'on' if self.timing else 'off'}.")

    def _use(self, argument: str) -> None:
        if not argument:
            raise ProgrammingError("\\use needs the name of a vindex")
        self.connection.switch(argument.strip("'\""))
        notice_interrupts(self.connection)

    def _fail(self, problem: object) -> None:
        self.failed = True
        sys.stdout.flush()
        click.echo(f"Error: {problem}", err=True)


def duration(seconds: float) -> str:
    """A time as people say it: 0.3 ms, 12 ms, 1.25 s."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.{1 if seconds < 0.01 else 0}f} ms"


def _is_lql(text: str) -> bool:
    words = [token.value.upper() for token in islice(scan(text), 3)]
    return bool(speaks_lql(words))
