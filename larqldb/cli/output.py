"""Files that commands write: whole and on disk under their name, or not there at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from larqldb.errors import OutputFailed
from larqldb.storage.new_file import replace_file
from larqldb.storage.outputs import check_folder

SQLITE = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#magic_header_string


def write_text(pieces: Iterable[str], output: str | None) -> None:
    """Write a text as UTF-8 to a file, in place of one that is there; to standard output where there is none, or "-".

    A file is written beside its place and renamed when it is whole and on disk; what is not a file (a device, a pipe)
    is written to as it is. Raises OutputFailed, or UsageError where it would overwrite a database.
    """
    encoded = (piece.encode() for piece in pieces)
    if output in (None, "-"):
        sys.stdout.flush()
        for piece in encoded:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    target = Path(os.path.realpath(str(output)))  # what a symbolic link leads to is replaced, not the link
    try:
        if target.exists() and not target.is_file():
            with open(target, "wb") as stream:
                stream.writelines(encoded)
            return
        check_folder(target)
        _check(target)
        replace_file(target, encoded)
    except OSError as problem:
        raise OutputFailed(path=output, problem=problem.strerror or str(problem)) from None


def _check(target: Path) -> None:
    with suppress(FileNotFoundError), open(target, "rb") as there:
        if there.read(len(SQLITE)) == SQLITE:
            raise click.UsageError(f"{target.name} is a database; give the output another name")
