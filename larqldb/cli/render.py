"""Rows → text: a table for people, JSON or CSV for programs."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any, Literal

TABLE_ROWS = 1_000  # a longer result is shown as several tables, so that it need not fit into memory
WIDE = 10_000  # columns, for a table that goes into a file: nothing is cut
NARROWEST = 4  # characters of a column, however many there are
SHOWN = 1_000  # characters of a value that a table looks at

Row = Sequence[Any]
Renderer = Callable[[Sequence[str], Iterable[Row], IO[str]], None]

# Control characters, and those that change the direction of the text around them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}


def as_json(columns: Sequence[str], rows: Iterable[Row], out: IO[str]) -> None:
    """One array of objects, a row a line; BLOBs are {"$base64": true, "encoded": "…"} as sqlite-utils has them."""
    names = [json.dumps(name, ensure_ascii=False) for name in distinct(columns)]
    separator = "["
    for row in rows:
        cells = ", ".join(f"{name}: {_json_value(value)}" for name, value in zip(names, row, strict=True))
        out.write(f"{separator}{{{cells}}}")
        separator = ",\n "
    out.write("[]\n" if separator == "[" else "]\n")


def as_csv(columns: Sequence[str], rows: Iterable[Row], out: IO[str]) -> None:
    """Comma-separated with a line of names; NULL is empty, a BLOB hexadecimal."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([value.hex() if isinstance(value, bytes) else value for value in row] for row in rows)


def as_table(columns: Sequence[str], rows: Iterable[Row], out: IO[str]) -> None:
    """A table as wide as the terminal: floats to six digits, control characters escaped, wide text cut with "…"."""
    for part in tables(columns, rows, out):
        out.write(part)


def tables(columns: Sequence[str], rows: Iterable[Row], out: IO[str]) -> Iterator[str]:
    """The text of ``as_table`` for a stream, a table for each TABLE_ROWS rows, then how many rows there were."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # In a Jupyter kernel rich would show what it renders, instead of giving it back.
    console = Console(file=out, highlight=False, emoji=False, markup=False, force_jupyter=False)
    if not console.is_terminal:
        console = Console(file=out, width=WIDE, highlight=False, emoji=False, markup=False, force_jupyter=False)
    count = 0
    for part in _parts(rows):
        table = Table(box=box.ROUNDED, header_style="bold")
        cells = [[shown(value) for value in row] for row in part]
        widths = [
            max(map(cell_len, column)) for column in zip([printable(name) for name in columns], *cells, strict=True)
        ]
        for place, (name, width) in enumerate(zip(columns, fitting(widths, console.width - 1), strict=True)):
            kinds = {type(row[place]) for row in part} - {type(None)}
            justify: Literal["right", "left"] = "right" if kinds and kinds <= {int, float} else "left"
            table.add_column(Text(printable(name)), justify=justify, no_wrap=True, overflow="ellipsis", width=width)
        for row, texts in zip(part, cells, strict=True):
            table.add_row(
                *(
                    Text(text, style="dim italic" if value is None else "")
                    for value, text in zip(row, texts, strict=True)
                )
            )
        with console.capture() as captured:
            console.print(table)
        yield captured.get()
        count += len(part)
    with console.capture() as captured:
        console.print(f"{count:,} row{'' if count == 1 else 's'}", style="dim")
    yield captured.get()


def fitting(widths: Sequence[int], room: int) -> list[int]:
    """Column widths that fit into a line with three characters a column for the frame: the widest are cut alike."""
    left, fitted = room - 3 * len(widths), list(widths)
    for done, place in enumerate(sorted(range(len(widths)), key=widths.__getitem__)):
        fitted[place] = min(widths[place], max(NARROWEST, left // (len(widths) - done)))
        left -= fitted[place]
    return fitted


def shown(value: object) -> str:
    """A value as a table shows it."""
    match value:
        case None:
            return "NULL"
        case float():
            return f"{value:.6g}"
        case bytes():
            return f"x'{value[:12].hex()}{'…' if len(value) > 12 else ''}' ({len(value):,} bytes)"
    text = str(value)
    return printable(text[:SHOWN]) + ("…" if len(text) > SHOWN else "")


def printable(text: str) -> str:
    """Text that cannot move the cursor or turn the line around: such characters become escapes."""
    return _UNPRINTABLE.sub(_escape, text)


def distinct(columns: Sequence[str]) -> list[str]:
    """Column names with repeated ones numbered: token, token_2."""
    names: list[str] = []
    for column in columns:
        name, number = column, 2
        while name in names:
            name, number = f"{column}_{number}", number + 1
        names.append(name)
    return names


def renderer(chosen: str | None) -> Renderer:
    """The renderer of an output option; without one, tables on a terminal and JSON elsewhere."""
    if chosen is None:
        chosen = "table" if sys.stdout.isatty() else "json"
    return {"table": as_table, "json": as_json, "csv": as_csv}[chosen]


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _json_value(value: object) -> str:
    if isinstance(value, bytes):
        return json.dumps({"$base64": True, "encoded": base64.b64encode(value).decode()})
    if isinstance(value, float) and math.isinf(value):
        return "9e999" if value > 0 else "-9e999"  # as SQLite's own JSON functions write it
    return json.dumps(value, ensure_ascii=False)


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in lists of TABLE_ROWS; one empty list where there are none."""
    iterator = iter(rows)
    first = list(islice(iterator, TABLE_ROWS))
    return chain([first], iter(lambda: list(islice(iterator, TABLE_ROWS)), []))
