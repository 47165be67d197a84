"""Writing files and folders of any kind: they appear under their names whole and on disk, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from larqldb.errors import NoFolder, OutputBusy, OutputExists, OutputFailed

if TYPE_CHECKING:
    Buffer = bytes | memoryview


@contextmanager
def new_output(path: str | os.PathLike[str], *, folder: bool = False) -> Iterator[Path]:
    """Where to write what becomes ``path`` when the block ends without an error, and is removed when it does not.

    That is ``.NAME.partial`` beside its place, empty at first; what a killed process left there is removed. Raises
    OutputExists, OutputBusy (another process is writing the same output) or OutputFailed (disk full, no permission).
    """
    target, partial = free_place(path)
    lock = -1
    try:
        lock = _begin(partial, folder, target)
        yield partial
        if folder:
            with ThreadPoolExecutor() as pool:  # at once, so that the filesystem commits once
                list(pool.map(sync, partial.iterdir()))
        publish(partial, target)
    except BaseException as problem:
        if lock >= 0:
            _remove(partial)
        if isinstance(problem, OSError):
            raise OutputFailed(path=target, problem=problem.strerror or _CUT_SHORT) from problem
        raise
    finally:
        if lock >= 0:
            os.close(lock)


def free_place(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """An output's path, where nothing may be yet, and where it is written until it is whole.

    Raises OutputExists or NoFolder.
    """
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise OutputExists(path=target)
    check_folder(target)
    return target, target.with_name(f".{target.name}.partial")


def check_folder(target: Path) -> None:
    """Raise NoFolder where the folder that an output is to stand in is not there."""
    if not target.parent.is_dir():
        raise NoFolder(path=target, folder=target.parent)


AHEAD = 2  # pieces that wait to be written
MUCH = 32 << 20  # bytes written that are worth a wait for the disk
_CUT_SHORT = "the disk is full, or a size limit was reached"  # numpy tells how much was written, not why no more


def _begin(partial: Path, folder: bool, target: Path) -> int:
    """Make the place to write to and lock it, as long as the descriptor is open; an earlier one is removed."""
    if partial.exists():
        os.close(_lock(partial, target))
        _remove(partial)
    if folder:
        partial.mkdir()
    else:
        partial.touch(exist_ok=False)
    return _lock(partial, target)


def _lock(place: Path, target: Path) -> int:
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OutputBusy(path=target) from None
    return handle


def publish(partial: Path, target: Path) -> None:
    """Give a file or folder that is safely on disk its name, never over one that is there. Raises OutputExists."""
    sync(partial)
    try:
        if partial.is_dir():
            partial.rename(target)  # fails where there is something, but for an empty folder
        else:
            os.link(partial, target)
            partial.unlink()
    except OSError:
        if target.exists():
            raise OutputExists(path=target) from None
        partial.rename(target)  # no hard links on this filesystem
    sync(target.parent)


def write_pieces(file: BinaryIO, pieces: Iterable[Buffer]) -> None:
    """Write pieces to an unbuffered file, and the file to the disk, while the next are made. Raises OSError."""
    with ThreadPoolExecutor(1) as writer, ThreadPoolExecutor(1) as syncer:
        writing: deque[Future[None]] = deque()
        syncing, waiting = syncer.submit(os.fsync, file.fileno()), 0
        for piece in pieces:
            writing.append(writer.submit(_write, file, memoryview(piece)))
            while len(writing) > AHEAD:
                writing.popleft().result()
            waiting += len(piece)
            if waiting >= MUCH and syncing.done():
                syncing.result()  # an error is told once
                syncing, waiting = syncer.submit(os.fsync, file.fileno()), 0
        for each in (*writing, syncing):
            each.result()


def _write(file: BinaryIO, piece: memoryview) -> None:
    while len(piece):  # unbuffered files may take less than they are given
        piece = piece[file.write(piece) :]


def sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(place: Path) -> None:
    with suppress(OSError):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
