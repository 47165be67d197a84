"""What a vindex is known by, and proof that it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import apsw

from larqldb.errors import DamagedVindex
from larqldb.storage.migrations import migrations
from larqldb.storage.seal import broken
from larqldb.storage.tensors import StoredTensor, TensorStore, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator


def fingerprint(tensors: Iterable[StoredTensor], config: bytes) -> str:
    """SHA-256 over every tensor's name, dtype, shape and checksum, and the model's config.json.

    The same weights give the same fingerprint, whatever was extracted of them or worked out from them since.
    """
    whole = hashlib.sha256(config)
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        whole.update(json.dumps([tensor.name, tensor.dtype, tensor.shape, tensor.sha256]).encode())
    return whole.hexdigest()


def verify(db: apsw.Connection, progress: Callable[[str], None] = lambda _: None) -> Iterator[tuple[str, str]]:
    """Check a whole file: (what, problem) for everything that is not as it was written; nothing when it is sound.

    Recomputes the seal over the whole file (good until it is written to), every tensor's checksum, the fingerprint,
    the schema's migrations, foreign keys and SQLite's own ``integrity_check``. ``progress`` is told what is being
    checked.
    """
    try:
        progress("the file as a whole")
        yield from (("seal", problem) for problem in broken(db))
        progress("database pages")
        for (line,) in db.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield "integrity_check", str(line)
        for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
            yield "foreign_key_check", f"{table} row {row} refers to a missing row of {parent}"
        recorded = db.execute("SELECT version, sha256 FROM migrations").fetchall()
        for migration in migrations():
            if (migration.version, migration.sha256) not in recorded:
                yield "migrations", f"version {migration.version} is not the one this larqldb has"
        store = TensorStore(db)
        tensors = list(store.tensors())
        for tensor in tensors:
            if tensor.storage != "absent":
                progress(tensor.name)
                try:
                    found = sha256(store.read(tensor))
                except DamagedVindex as problem:
                    yield tensor.name, str(problem)
                    continue
                if found != tensor.sha256:
                    yield tensor.name, f"sha256 is {found}, was {tensor.sha256}"
        progress("fingerprint")
        config = db.execute("SELECT CAST(content AS BLOB) FROM files WHERE name = 'config.json'").fetchone()
        stated = db.execute("SELECT value FROM model WHERE key = 'fingerprint'").fetchone()
        if config is None or stated is None:
            yield "model", "the fingerprint or config.json is missing"
        elif fingerprint(tensors, config[0]) != stated[0]:
            yield "fingerprint", f"does not match the tensors and config.json ({stated[0]} was recorded)"
    except apsw.Error as problem:
        yield "database", str(problem)
