"""The language: text → nodes → SQL. Knows SQL text, never arrays, and touches no file.

``parse`` reads one statement, ``to_sql`` gives the SQL that a query becomes, ``split`` takes a script apart, and
``help_text`` explains, from the same table that the parser works by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from larqldb.errors import LQLSyntaxError
from larqldb.lql.fragments import fragment_sql
from larqldb.lql.help import help_text, statements
from larqldb.lql.nodes import Command, Fragment, Parameter, Query, Sql, Statement
from larqldb.lql.parser import parse
from larqldb.lql.render import render
from larqldb.lql.script import split
from larqldb.lql.sqlite_syntax import sql_error

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = [
    "Command",
    "Fragment",
    "LQLSyntaxError",
    "Parameter",
    "Query",
    "Sql",
    "Statement",
    "fragment_sql",
    "help_text",
    "lower",
    "parse",
    "print_sql",
    "render",
    "split",
    "sql_error",
    "statements",
    "to_sql",
]

# Lowering needs sqlglot, which takes 0.1 s to import: programs that run SQL and commands only never wait for it.


def to_sql(text: str) -> str:
    """The SQL of a statement: LQL's lowered, SQL's own as it stands; NotAQuery for a command."""
    from larqldb.lql import lowering

    return lowering.to_sql(text)


def print_sql(node: Statement) -> str:
    """The SQL of a node; NotAQuery for a command."""
    from larqldb.lql import lowering

    return lowering.print_sql(node)


def lower(node: Statement) -> exp.Select:
    """The SELECT of a statement of LQL's own; NotAQuery for commands, SQL, pipes and NEAREST TO."""
    from larqldb.lql import lowering

    return lowering.lower(node)
