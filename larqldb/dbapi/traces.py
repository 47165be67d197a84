"""TRACE … SAVE: the rows of a trace into the file's own tables, or into a file beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import InterfaceError, OutputExists, OutputFailed, ProgrammingError

if TYPE_CHECKING:
    from larqldb.dbapi.connection import Connection
    from larqldb.lql import nodes

COLUMNS = (
    "layer", "position", "token", "rank", "probability", "attn", "ffn", "residual", "who", "embedding",
    "lens_token", "lens_probability", "read",
)  # fmt: skip
Row = tuple[Any, ...]


def save_trace(command: nodes.TraceSave, connection: Connection) -> list[Row]:
    """Run the trace and keep its rows; the row of the answer says what was written.

    A path that ends in .json, .csv or .npz is written as such a file; any other name is the trace's in the tables
    ``traces`` and ``trace_layers``, in a transaction like every change. Raises OutputExists for a path that is taken,
    ProgrammingError for a name that is, or one that looks like a path of another kind.
    """
    prompt, answer, target = command.prompt, command.answer, command.save
    if not isinstance(target, str) or not target:
        raise InterfaceError("SAVE needs a name or a path as text")
    kind = Path(target).suffix.lower()
    if kind not in WRITERS and ("/" in target or os.sep in target):
        raise ProgrammingError(f"SAVE writes .json, .csv and .npz files, or a name without slashes; {target!r} is none")
    bounds: Any = command.layers
    first, last = (None, None) if bounds is None else (bounds.first, bounds.last)
    if kind not in WRITERS and connection.execute("SELECT 1 FROM traces WHERE trace = ?", (target,)).fetchone():
        raise ProgrammingError(f"there is a trace {target!r} already: DELETE FROM traces WHERE trace = '…' removes it")
    arguments = (prompt, answer, int(command.decompose), first, last, command.positions)
    sql = f"SELECT {', '.join(COLUMNS)} FROM trace(?, ?, ?, ?, ?, ?) ORDER BY layer, position"
    rows = connection.execute(sql, arguments).fetchall()
    if kind in WRITERS:
        return [("file", target, len(rows), _write(target, kind, rows))]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    fingerprint = connection.session.model["fingerprint"]
    connection.execute(
        "INSERT INTO traces (trace, prompt, answer, positions, fingerprint, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (target, prompt, answer, command.positions, fingerprint, now),
    )
    connection.executemany(
        f"INSERT INTO trace_layers (trace, {', '.join(COLUMNS)}) VALUES (?{', ?' * len(COLUMNS)})",
        ((target, *row) for row in rows),
    )
    return [("trace", target, len(rows), None)]


def _write(target: str, kind: str, rows: Sequence[Row]) -> int:
    """Write a new file whole or not at all; its size in bytes."""
    from larqldb.storage.outputs import check_folder

    check_folder(Path(target))
    try:
        with open(target, "xb") as file:
            try:
                WRITERS[kind](file, rows)
            except BaseException:
                with suppress(OSError):
                    os.unlink(target)
                raise
    except FileExistsError:
        raise OutputExists(path=target) from None
    except OSError as problem:
        raise OutputFailed(path=target, problem=problem.strerror or str(problem)) from None
    return os.path.getsize(target)


def _json(file: IO[bytes], rows: Iterable[Row]) -> None:
    objects = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    file.write(json.dumps(objects, ensure_ascii=False, indent=1).encode())


def _csv(file: IO[bytes], rows: Iterable[Row]) -> None:
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    file.write(text.getvalue().encode())


def _npz(file: IO[bytes], rows: Sequence[Row]) -> None:
    """One array a column, [rows]: int64, float64 (NaN for NULL) or text."""
    arrays: dict[str, Any] = {}
    for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        arrays[name] = np.array([np.nan if value is None else value for value in values])
    np.savez(file, **arrays)


WRITERS = {".json": _json, ".csv": _csv, ".npz": _npz}
