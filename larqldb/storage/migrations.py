"""The numbered SQL files that make the schema, and their application to a file.

Each migration runs in one transaction with its record in the table ``migrations``; ``PRAGMA user_version`` is the
newest one applied.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from larqldb.storage.clock import now

if TYPE_CHECKING:
    import apsw

RECORD = """
CREATE TABLE IF NOT EXISTS migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_at TEXT NOT NULL           -- UTC, ISO 8601
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Checksum of the file's text, hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations in order, from the wheel or, in a checkout, from the folder beside the package."""
    package = Path(__file__).resolve().parents[1]
    folder = next(place / "migrations" for place in (package, package.parent) if (place / "migrations").is_dir())
    found = []
    for file in folder.iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.version))


def newest() -> int:
    """The schema version this larqldb writes."""
    return migrations()[-1].version


def migrate(db: apsw.Connection) -> None:
    """Bring the schema of an open database to the newest version; what is applied already stays as it is."""
    version = db.pragma("user_version")
    for migration in migrations():
        if migration.version <= version:
            continue
        with db:
            db.execute(RECORD)
            db.execute(migration.sql)
            db.execute(
                "INSERT INTO migrations VALUES (?, ?, ?, ?)",
                (migration.version, migration.name, migration.sha256, now()),
            )
            db.pragma("user_version", migration.version)
