"""The IPython magic ``%lql``: statements in notebooks, with Python's variables as their parameters."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand
from IPython.display import display

from larqldb.dbapi import Connection, Cursor, connect
from larqldb.dbapi.statements import script
from larqldb.storage.database import MEMORY


class Magic:
    """``%lql`` of one shell, with a connection of its own that USE opens files on; its changes are permanent."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.connection = connect(MEMORY)
        self.connection.autocommit = True

    def register(self) -> None:
        """Make ``%lql`` and ``%%lql`` known to the shell."""
        self.shell.register_magic_function(self.lql, magic_kind="line_cell", magic_name="lql")

    @no_var_expand
    def lql(self, line: str, cell: str | None = None) -> Cursor | None:
        """Run LQL or SQL and show the rows.

        %lql USE "gemma.vindex"           open a file
        %lql DESCRIBE "France"            run a statement; rows = %lql … keeps the cursor
        %lql DESCRIBE :entity             :entity is the Python variable of that name
        %%lql                             run the statements of a cell, separated by ";"
        %%lql conn                        run them on a larqldb connection of yours; commit is yours too
        """
        connection, text = (self.connection, line) if cell is None else (self._connection(line.strip()), cell)
        cursor: Cursor | None = None
        for statement in script(text):
            if cursor is not None and cursor.description is not None:
                display(cursor)  # type: ignore[no-untyped-call]
            cursor = connection.execute(statement, self.shell.user_ns)
        if cursor is None:
            raise UsageError('a statement is missing, such as: %lql DESCRIBE "France"')
        return cursor

    def _connection(self, name: str) -> Connection:
        if not name:
            return self.connection
        found = self.shell.user_ns.get(name)
        if not isinstance(found, Connection):
            raise UsageError(f"{name} is no larqldb connection. Make one with: {name} = larqldb.connect(PATH)")
        return found
