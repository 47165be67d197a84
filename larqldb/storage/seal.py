"""A checksum over every byte of a file that was written in one go.

The table ``seal`` holds the file's change counter (https://www.sqlite.org/fileformat.html#file_change_counter) and the
SHA-256 of the whole file, computed with zeros in the digest's place. It holds until anything writes to the file, which
moves the counter; then the checksums of tensors and SQLite's own ``integrity_check`` are what is left to go by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from larqldb.storage.database import fetch

DIGITS, DIGEST = 10, 64
BLANK = f"{'0' * DIGITS} {'0' * DIGEST}"
BLOCK = 1 << 20
COUNTER, VALID_FOR = slice(24, 28), slice(92, 96)  # of the header: the counter, and the counter it was last valid for


def leave_room(db: apsw.Connection) -> None:
    """Put an empty seal into a database that is about to be closed and sealed."""
    db.execute("DELETE FROM seal")
    db.execute("INSERT INTO seal VALUES (?)", (BLANK,))


def seal(path: Path) -> None:
    """Seal a closed file that holds an empty seal; nobody else may have it open."""
    with open(path, "r+b") as file:
        header = file.read(100)
        counter = f"{int.from_bytes(header[COUNTER], 'big'):0{DIGITS}}"
        at = _find(lambda start, size: (file.seek(start), file.read(size))[1], BLANK.encode())
        file.seek(at)
        file.write(counter.encode())
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
        file.seek(at + DIGITS + 1)
        file.write(digest.hexdigest().encode())


def broken(db: apsw.Connection) -> Iterator[str]:
    """What is wrong with the seal of an open file: nothing where it holds, or where the file was written to since."""
    found = fetch(db, "SELECT seal FROM seal")
    if not found or not db.filename:
        return
    stated = str(found[0][0])
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0]
    # Through SQLite's own file layer: closing a second handle of ours would drop its locks.
    file = apsw.VFSFile("", db.filename, flags)
    try:
        yield from _compare(file, stated)
    finally:
        file.xClose()


def _compare(file: apsw.VFSFile, stated: str) -> Iterator[str]:
    length = file.xFileSize()

    def read(start: int, size: int) -> bytes:
        return file.xRead(min(size, max(0, length - start)), start)

    header = read(0, 100)
    if header[COUNTER] != header[VALID_FOR]:
        yield "the header contradicts itself about when it was last written"
        return
    if stated[:DIGITS] != f"{int.from_bytes(header[COUNTER], 'big'):0{DIGITS}}":
        return
    at = _find(read, stated.encode()) + DIGITS + 1
    digest = hashlib.sha256()
    for start in range(0, length, BLOCK):
        block = bytearray(read(start, BLOCK))
        first, last = max(at, start), min(at + DIGEST, start + len(block))
        if first < last:
            block[first - start : last - start] = b"0" * (last - first)
        digest.update(block)
    if digest.hexdigest() != stated[-DIGEST:]:
        yield "a byte of the file has changed since it was written"


def _find(read: Callable[[int, int], bytes], text: bytes) -> int:
    """Where a text stands in a file."""
    start = 0
    while block := read(start, BLOCK + len(text)):
        if (at := block.find(text)) >= 0:
            return start + at
        start += BLOCK
    raise ValueError(text)
