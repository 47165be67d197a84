"""Ctrl-C while SQLite works."""

from __future__ import annotations

from larqldb.dbapi import Connection

STEPS = 100_000  # of SQLite's virtual machine: some milliseconds


def notice_interrupts(connection: Connection) -> None:
    """Return to Python now and then during a statement: only there a KeyboardInterrupt can be raised."""
    connection.database.set_progress_handler(lambda: False, STEPS)
