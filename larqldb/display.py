"""Results as tables where they are looked at: in notebooks (HTML) and in IPython's terminal (text).

Only the first rows are shown. Looking takes nothing away: the rows stay to be fetched.
"""

from __future__ import annotations

import sys
from html import escape
from typing import TYPE_CHECKING, Any

from larqldb.errors import ProgrammingError

if TYPE_CHECKING:
    from larqldb.dbapi.cursor import Cursor

ROWS = 50  # shown
COUNTED = 1_000  # rows looked ahead to say how many there are

# Spaces are kept because tokens begin with them; the classes beside "larqldb" keep a $ from starting a formula and give
# the table the notebook's own looks.
_STYLE = """<style scoped>
.larqldb td { text-align: left; white-space: pre-wrap; }
.larqldb th { text-align: left; }
.larqldb td.number { text-align: right; }
</style>
"""


def html(cursor: Cursor) -> str | None:
    """An HTML table of a cursor's next rows; None where there is no result, or none any more."""
    if not cursor.description or not _is_open(cursor):
        return None
    rows = cursor.peek(COUNTED + 1)
    head = "".join(f"<th>{_text(column[0])}</th>" for column in cursor.description)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows[:ROWS])
    return (
        f'<div class="larqldb tex2jax_ignore mathjax_ignore">\n{_STYLE}<table class="dataframe">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n<p>{_size(rows)}</p>\n</div>"
    )


def text(cursor: Cursor) -> str:
    """The same table as text, as wide as the terminal."""
    if not cursor.description or not _is_open(cursor):
        return repr(cursor)
    from larqldb.cli.render import tables

    rows = cursor.peek(COUNTED + 1)
    table, _ = tables([column[0] for column in cursor.description], rows[:ROWS], sys.stdout)
    return f"{table}{_size(rows)}"


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext larqldb`` calls: adds the magic ``%lql``."""
    from larqldb.magic import Magic

    Magic(shell).register()


def _is_open(cursor: Cursor) -> bool:
    try:
        cursor.peek(0)
    except ProgrammingError:
        return False
    return True


def _cell(value: object) -> str:
    match value:
        case None:
            return "<td><i>NULL</i></td>"
        case bytes():
            return f"<td><i>{len(value):,} bytes</i></td>"
        case int() | float():
            return f'<td class="number">{_text(value)}</td>'
    return f"<td>{_text(value)}</td>"


def _text(value: object) -> str:
    from larqldb.cli.render import shown

    return escape(shown(value))


def _size(rows: list[tuple[Any, ...]]) -> str:
    count = len(rows)
    if count > COUNTED:
        return f"first {ROWS:,} of more than {COUNTED:,} rows"
    if count > ROWS:
        return f"first {ROWS:,} of {count:,} rows, {count - ROWS:,} more"
    return "1 row" if count == 1 else f"{count:,} rows"
