"""Files that commands write: whole and on disk under their name, or not there at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from larqldb.errors import OutputFailed

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
        _check(target)
        _replace(target, encoded)
    except OSError as problem:
        raise OutputFailed(path=output, problem=problem.strerror or str(problem)) from None


def _check(target: Path) -> None:
    with suppress(FileNotFoundError), open(target, "rb") as there:
        if there.read(len(SQLITE)) == SQLITE:
            raise click.UsageError(f"{target.name} is a database; give the output another name")


def _replace(target: Path, pieces: Iterable[bytes]) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            partial.chmod(target.stat().st_mode)
        partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync(target.parent)


def _sync(folder: Path) -> None:
    """Have the new name on disk too, where the system can open folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
