"""The derived index for sqlite-vec: schema ``vec`` with the vectors as ``vec0`` tables, made from the rows when needed.

    vec.gates (layer, feature, vector, distance)    what a feature answers to
    vec.downs (layer, feature, vector, distance)    what a feature writes; absent where the vindex holds no such vectors
    vec.bounds (vectors, layer, bound)              the M of each layer, below; vectors is gates or downs

It lies in ``NAME.vindex-vec`` beside the file, or in memory where the file or its folder may not be written. It holds
nothing of its own and may be deleted at any time. Nothing is made before a statement names one of its tables: then it
is attached, and built first where it is missing, damaged or made from another model. It is built under another name
and renamed when complete, so that another process sees all of it or nothing. For SmolLM2-135M building takes 3 s,
checking and attaching a finished one 0.2 s, and it holds 216 MB.

sqlite-vec ranks by distance, features are ranked by inner product, so each vector g has one coordinate more,
√(M² − |g|²), M being the largest norm of its layer. Against the query (q, 0) then d² = |q|² + M² − 2 g·q: the nearest
are those with the largest g·q (Bachrach et al. 2014, https://doi.org/10.1145/2645710.2645741). The functions
gate_query() and down_query() make such queries:

    SELECT layer, feature, distance FROM vec.gates WHERE vector MATCH gate_query('Mozart', 26) AND layer = 26 AND k = 10
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

import apsw
import numpy as np
from numpy.typing import NDArray

from larqldb.errors import MissingPart, OperationalError, OutputFailed
from larqldb.storage.database import MEMORY, PAGE_SIZE, fetch
from larqldb.storage.dtypes import as_float32
from larqldb.storage.parts import remedy
from larqldb.storage.seal import broken, leave_room, seal
from larqldb.storage.tensors import TensorStore

SCHEMA = "vec"
TABLES = {"gates": "gate", "downs": "down"}
SUFFIX = "-vec"
FORMAT = 1  # of the tables; raised when they change
LEFTOVER_SECONDS = 3600
CHUNK = 1024  # sqlite-vec stores so many vectors to a BLOB unless told otherwise

_LACKING = re.compile(rf"no such table: {SCHEMA}\.(\w+)", re.IGNORECASE)


def load_extension(db: apsw.Connection) -> None:
    """Give a connection sqlite-vec's functions and ``vec0``; extensions stay off for statements.

    Raises OperationalError where sqlite-vec has no build for this system.
    """
    found = find_spec("sqlite_vec")  # importing it would import the standard library's sqlite3
    folder = next(iter(found.submodule_search_locations or ())) if found else ""
    db.enable_load_extension(True)
    try:
        db.load_extension(os.path.join(folder, "vec0"))
    except apsw.ExtensionLoadingError as problem:
        raise OperationalError(
            f"sqlite-vec cannot be loaded: {problem}. Reinstall it: pip install sqlite-vec"
        ) from None
    finally:
        db.enable_load_extension(False)


def largest_norm(matrix: NDArray[np.float32]) -> float:
    """The largest L2 norm of a matrix's rows, in float64: the M of a layer."""
    return max((float(np.sqrt(np.einsum("fh,fh->f", part, part).max())) for part in float64_parts(matrix)), default=0.0)


def float64_parts(matrix: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    """A matrix in float64, a few rows at a time."""
    rows = max(1, (1 << 17) // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        yield matrix[start : start + rows].astype(np.float64)


class VectorIndex:
    """The schema ``vec`` of one connection."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self.attached = False

    def provide(self, problem: str) -> bool:
        """Whether SQLite's complaint was about a table of ``vec`` that is there now, so that the statement can run.

        Raises MissingPart where the vindex lacks its vectors, OutputFailed where the disk is full.
        """
        named = _LACKING.match(problem)
        table = named.group(1).lower() if named else ""
        if table not in (*TABLES, "bounds"):
            return False
        if SCHEMA not in self.db.db_names():
            self.attach()
        elif not self.attached:
            return False  # the user's own schema of that name
        if not self.db.table_exists(SCHEMA, table):
            raise MissingPart(
                statement=f"{SCHEMA}.{table}",
                part=f"the {TABLES.get(table, 'feature')} vectors",
                remedy=remedy(self.db, ("ffn",))
                or "Extract the model again with --level all (larqldb extract SOURCE -o NAME.vindex)",
            )
        return True

    def attach(self) -> None:
        """Attach the index, built first where there is no good one."""
        stamp = self._stamp()
        target = Path(self.db.filename + SUFFIX) if self.db.filename else None
        if target is not None and not _usable(target, stamp):
            writable = not self.db.readonly("main") and os.access(target.parent, os.W_OK)
            if not (writable and self._build_file(target, stamp)):
                target = None
        load_extension(self.db)
        if target is not None:
            self.db.execute(f"ATTACH ? AS {SCHEMA}", (str(target),))
        else:
            with closing(apsw.Connection(MEMORY)) as memory:
                self._fill(memory, stamp)
                contents = memory.serialize("main")
            self.db.execute(f"ATTACH '{MEMORY}' AS {SCHEMA}")
            self.db.deserialize(SCHEMA, contents)
        self.attached = True

    def _stamp(self) -> str:
        """What an index must have been made from to be this file's."""
        keys = ("fingerprint", "first_layer", "last_layer", "level")
        properties = dict(fetch(self.db, "SELECT key, value FROM model"))
        if "fingerprint" not in properties:
            raise MissingPart(statement=SCHEMA, part="a model", remedy="Extract one, or open another file")
        parts = {"parts": properties["parts"]} if "parts" in properties else {}  # of a slice
        return json.dumps({"format": FORMAT, **{key: properties[key] for key in keys}, **parts})

    def _build_file(self, target: Path, stamp: str) -> bool:
        """Build the index beside its place and give it its name; False where the folder cannot be written after all."""
        _remove_leftovers(target)
        partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
        try:
            with closing(apsw.Connection(os.fspath(partial))) as db:
                db.pragma("locking_mode", "exclusive")
                db.pragma("journal_mode", "off")
                db.pragma("synchronous", "off")
                self._fill(db, stamp)
            seal(partial)
            with open(partial, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(partial, target)
        except BaseException as problem:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            if isinstance(problem, apsw.CantOpenError | apsw.ReadOnlyError | PermissionError):
                return False
            if isinstance(problem, apsw.FullError | apsw.IOError | OSError):
                raise OutputFailed(path=target, problem=str(problem)) from problem
            raise
        return True

    def _fill(self, db: apsw.Connection, stamp: str) -> None:
        """Make the tables in an empty database."""
        load_extension(db)
        db.pragma("page_size", PAGE_SIZE)
        store = TensorStore(self.db)
        held = [tensor for tensor in store.tensors() if tensor.storage == "features"]
        with db:
            db.execute(
                "CREATE TABLE stamp (stamp TEXT NOT NULL); CREATE TABLE seal (seal TEXT NOT NULL);"
                "CREATE TABLE bounds (vectors TEXT, layer INTEGER, bound REAL, PRIMARY KEY (vectors, layer))"
            )
            for table, direction in TABLES.items():
                layers = sorted(tensor.layer or 0 for tensor in held if direction in tensor.layout.roles)
                for layer in layers:
                    matrix = as_float32(store.weights(direction, layer))
                    if layer == layers[0]:
                        db.execute(_table(table, *matrix.shape))
                    bound = largest_norm(matrix)
                    db.execute("INSERT INTO bounds VALUES (?, ?, ?)", (table, layer, bound))
                    db.executemany(
                        f"INSERT INTO {table} (layer, feature, vector) VALUES (?, ?, ?)",
                        ((layer, feature, row.data) for feature, row in enumerate(_with_rest(matrix, bound))),
                    )
            db.execute("INSERT INTO stamp VALUES (?)", (stamp,))
            leave_room(db)


def _table(name: str, features: int, hidden: int) -> str:
    """A ``vec0`` table for layers of so many features: its chunks divide a layer evenly, as each layer has its own."""
    chunks = -(-features // CHUNK)
    size = -(-features // (8 * chunks)) * 8  # vec0 wants a multiple of 8
    return (
        f"CREATE VIRTUAL TABLE {name} USING vec0("
        f"layer INTEGER PARTITION KEY, feature INTEGER, vector FLOAT[{hidden + 1}], chunk_size={size})"
    )


def _with_rest(matrix: NDArray[np.float32], bound: float) -> NDArray[np.float32]:
    """Vectors [features, hidden] with the coordinate that gives them all the norm ``bound``, [features, hidden + 1]."""
    squared = np.concatenate([np.einsum("fh,fh->f", part, part) for part in float64_parts(matrix)])
    rest = np.sqrt(np.maximum(bound**2 - squared, 0)).astype(np.float32)
    return np.concatenate([matrix, rest[:, None]], axis=1)


def _usable(path: Path, stamp: str) -> bool:
    """Whether a file is an index with this stamp, whole and unchanged since it was built."""
    if not path.exists():
        return False
    try:
        with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            return fetch(db, "SELECT stamp FROM stamp") == [(stamp,)] and not any(broken(db))
    except (apsw.Error, ValueError):
        return False


def _remove_leftovers(target: Path) -> None:
    """Remove what killed processes left of their builds: files that nobody has written to for an hour."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.partial")
    for other in target.parent.iterdir():
        with suppress(OSError):
            if name.fullmatch(other.name) and time.time() - other.stat().st_mtime > LEFTOVER_SECONDS:
                other.unlink()
