"""Reading a file through a mapping without keeping what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw

MUCH = 64 << 20  # bytes read that are worth giving back


class Mapped:
    """Counts what is read of a database file, which counts as the process's memory while the file stays mapped."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db, self._read = db, 0

    def read(self, size: int) -> None:
        """So many bytes were read, by no statement that still runs; unmaps the file when it was much."""
        self._read += size
        if self._read >= MUCH:
            self._read, mapped = 0, self._db.pragma("mmap_size")
            self._db.pragma("mmap_size", 0)
            self._db.pragma("mmap_size", mapped)
