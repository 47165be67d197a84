"""What building keeps in the user's cache: bases that were extracted, patches of single edits, whole results.

Everything is named by a hash of what it was made from, larqldb itself included, so that nothing in it is ever wrong,
only unused. What was not used for longest is removed when it takes more than its share of the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

import apsw

from larqldb.storage.database import PAGE_SIZE
from larqldb.storage.migrations import migrations
from larqldb.storage.seal import broken

LIMIT_GB = 10.0
WORK = "work-"
ABANDONED_SECONDS = 24 * 3600
BLOCK = 1 << 20


def default_folder() -> Path:
    """Where builds are kept: ``larqldb/build`` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "larqldb" / "build"


class Cache:
    """A folder of things by their keys; ``limit_gb`` bounds what stays in it after a build."""

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, limit_gb: float = LIMIT_GB) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self._limit = int(limit_gb * (1 << 30))
        self._used: set[Path] = set()

    def place(self, key: str, suffix: str) -> Path:
        """Where the thing of a key is, or is to be; it counts as used."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{key}{suffix}"
        self._used.add(path)
        return path

    def holds(self, path: Path) -> bool:
        """Whether a thing is there and whole; what is damaged is removed."""
        if not path.exists():
            return False
        if path.suffix == ".vindex" and not _sound(path):
            path.unlink(missing_ok=True)
            return False
        os.utime(path)
        return True

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder for what a build needs while it runs, on the cache's disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder / f"{WORK}{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def prune(self) -> None:
        """Remove what was not used for longest until the rest is small enough, and what killed builds left."""
        there: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(OSError):
                state = path.stat()
                if path.name.startswith(WORK):
                    if time.time() - state.st_mtime > ABANDONED_SECONDS:
                        shutil.rmtree(path, ignore_errors=True)
                else:
                    there.append((state.st_mtime, state.st_size, path))
        size = sum(bytes_ for _, bytes_, _ in there)
        for _, bytes_, path in sorted(there):
            if size <= self._limit:
                return
            if path not in self._used:
                path.unlink(missing_ok=True)
                size -= bytes_

    def clear(self) -> int:
        """Remove all of it; gives how many bytes that were."""
        if not self.folder.is_dir():
            return 0
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        shutil.rmtree(self.folder)
        return size


def _sound(path: Path) -> bool:
    try:
        with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            return db.pragma("page_size") == PAGE_SIZE and not any(broken(db))
    except (apsw.Error, ValueError):
        return False


def key(*parts: str) -> str:
    """A name for what is made from these."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode()
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


@cache
def program() -> str:
    """A hash of larqldb's own code and schema, which what is built is made from, too."""
    package = Path(__file__).resolve().parents[1]
    texts = [path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))]
    return key(*texts, *(migration.sha256 for migration in migrations()))


def content(path: Path) -> str:
    """SHA-256 of a file, or of all files that lie in a folder, by name."""
    if path.is_dir():
        return key(*(part for file in sorted(path.iterdir()) if file.is_file() for part in (file.name, content(file))))
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
