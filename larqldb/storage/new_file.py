"""Writing whole files: they appear under their names complete and on disk, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from larqldb.errors import OutputBusy, OutputFailed
from larqldb.storage.database import create_database
from larqldb.storage.outputs import free_place, publish, sync
from larqldb.storage.seal import leave_room, seal


@contextmanager
def new_vindex(path: str | os.PathLike[str]) -> Iterator[apsw.Connection]:
    """A database that becomes ``path`` when the block ends without an error, and is removed when it does not.

    It is written to ``.NAME.partial`` beside its place; what a killed process left there is removed first. Raises
    OutputExists, OutputBusy (another process is writing the same file) or OutputFailed (disk full, no permission).
    """
    target, partial = free_place(path)
    _remove_leftover(partial, target)
    db: apsw.Connection | None = None
    try:
        db = create_database(partial)
        with db:
            yield db
            leave_room(db)
        db.close()
        seal(partial)
        publish(partial, target)
    except BaseException as problem:
        if db is not None:
            with suppress(apsw.Error):
                db.close()
        if isinstance(problem, apsw.BusyError):
            raise OutputBusy(path=target) from None
        with suppress(OSError):
            partial.unlink()
        if isinstance(problem, apsw.FullError | apsw.IOError | apsw.CantOpenError | OSError):
            raise OutputFailed(path=target, problem=_reason(problem)) from problem
        raise


def replace_file(target: Path, pieces: Iterable[bytes]) -> None:
    """Write a file in place of one that may be there, whose mode it keeps. Raises OSError, having changed nothing."""
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
    with suppress(OSError):  # where the system can open folders, the new name is on disk too
        sync(target.parent)


def _remove_leftover(partial: Path, target: Path) -> None:
    """Remove what a killed process left; refuse when a living one still holds SQLite's lock on it."""
    if not partial.exists():
        return
    db = apsw.Connection(os.fspath(partial))
    try:
        db.execute("BEGIN EXCLUSIVE")
    except apsw.BusyError:
        raise OutputBusy(path=target) from None
    except apsw.Error:
        pass  # half-written: whatever it is, nobody is writing it
    finally:
        db.close(force=True)
    partial.unlink(missing_ok=True)


def _reason(problem: BaseException) -> str:
    if isinstance(problem, apsw.FullError):
        return "the disk is full, or a size limit was reached"
    if isinstance(problem, OSError):
        return problem.strerror or str(problem)
    return str(problem)
