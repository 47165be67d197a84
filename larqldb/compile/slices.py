"""A part of a vindex as a vindex of its own, which says what it lacks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import apsw

from larqldb.errors import MissingPart
from larqldb.storage import parts
from larqldb.storage.database import fetch, open_database
from larqldb.storage.new_file import new_vindex
from larqldb.storage.parts import Part
from larqldb.storage.tensors import DIRECTIONS, TensorStore

if TYPE_CHECKING:
    from larqldb.storage.tensors import StoredTensor

Progress = Callable[[str, int, int], None]

# Written otherwise than as copies of rows: "seal" by the file's writer, "sqlite_sequence" by SQLite.
OWN = frozenset({"model", "migrations", "tensors", "tensor_chunks", "feature_vectors", "edit_state", "seal"})
FIRST = ("relations", "edge_records", "patches", "traces")  # what rows of other tables refer to


@dataclass(frozen=True, slots=True)
class SliceReport:
    """What a slice came to: its parts, those it lacks, tensors held, the file's size."""

    path: str
    parts: tuple[str, ...]
    lacks: tuple[str, ...]
    tensors: int
    bytes: int

    def rows(self) -> Iterator[tuple[str, str, int, int | None]]:
        """What was written and left out, as (what, where, how many, bytes)."""
        yield "vindex", self.path, self.tensors, self.bytes
        for part in self.parts:
            yield "part", part, 1, None
        for part in self.lacks:
            yield "left out", part, 1, None


def write_slice(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    wanted: Iterable[str],
    *,
    name: str | None = None,
    progress: Progress = lambda *_: None,
) -> SliceReport:
    """Write the parts named (see ``larqldb.storage.parts``) of a vindex into a new one, which appears when it is whole.

    The slice says that it is of ``name``, by default the file's own. The same file and parts give the same bytes.
    Raises ProgrammingError for parts that there are not, MissingPart where the source lacks one itself, OutputExists,
    OutputBusy or OutputFailed.
    """
    with closing(open_database(source, read_only=True)) as db:
        db.execute("BEGIN")  # one state of the file
        layers = int(db.execute("SELECT value FROM model WHERE key = 'layers'").get)
        chosen = parts.parse(wanted, layers)
        with new_vindex(path) as target:
            made = _Slice(db, target, chosen, name or os.path.basename(source), progress)
            made.write()
    return SliceReport(
        os.fspath(path), tuple(map(str, chosen)), tuple(made.lacks), len(made.kept), Path(path).stat().st_size
    )


class _Slice:
    """The state of one slicing; ``write`` does it."""

    def __init__(
        self,
        source: apsw.Connection,
        target: apsw.Connection,
        chosen: Sequence[Part],
        name: str,
        progress: Progress,
    ) -> None:
        self.source, self.target, self.chosen, self.name, self.progress = source, target, chosen, name, progress
        self.properties: dict[str, Any] = dict(fetch(source, "SELECT key, value FROM model ORDER BY key"))
        self.tensors = list(TensorStore(source).tensors())
        self.kept = [one for one in self.tensors if self._keeps(one)]
        self.lacks = self._lacks()

    def write(self) -> None:
        """Write every table."""
        self._check()
        target = self.target
        target.pragma("defer_foreign_keys", True)  # rows come table by table
        target.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)  # what triggers wrote is copied, too
        target.execute("DELETE FROM edit_state")
        copied = self._tables()
        steps = len(copied) + len(self.kept) + 1
        for done, table in enumerate(copied):
            self.progress(table, done, steps)
            copy_rows(self.source, target, table)
        self._write_tensors(len(copied), steps)
        if "edits" in {part.name for part in self.chosen}:
            copy_rows(self.source, target, "edit_state")
            sequence = fetch(self.source, "SELECT seq FROM sqlite_sequence WHERE name = 'patch_ops'")
            target.execute("DELETE FROM sqlite_sequence")
            target.executemany("INSERT INTO sqlite_sequence VALUES ('patch_ops', ?)", sequence)
        else:
            target.execute("INSERT INTO edit_state VALUES (0, 0)")
            target.execute("DELETE FROM edge_records WHERE edge_id < 0")
        copy_migration_times(self.source, target)
        target.executemany("INSERT INTO model VALUES (?, ?)", sorted(self._described().items()))
        self.progress("done", steps, steps)

    def _tables(self) -> list[str]:
        """The tables whose rows are copied as they are, those first that others refer to."""
        held = {part.name for part in self.chosen}
        absent = {table for part, tables in parts.TABLES.items() if part not in held for table in tables}
        return [table for table in ordered_tables(self.source) if table not in OWN | absent]

    def _keeps(self, tensor: StoredTensor) -> bool:
        return tensor.storage != "absent" and parts.keeps(self.chosen, tensor.role, tensor.layer)

    def _check(self) -> None:
        """Refuse parts that the source lacks."""
        have = parts.held(self.source)
        if have is not None:
            for part in self.chosen:
                known = next((one for one in have if one.name == part.name), None)
                if (
                    known is None
                    or not (known.covers(part.first) and known.covers(part.last))
                    or (part.first is None and known.first is not None)
                ):
                    raise parts.missing(self.source, f"--parts {part}", [part.name])
        absent = [one for one in self.tensors if one.storage == "absent" and one.role != "redundant"]
        for tensor in absent:
            for part in self.chosen:
                if have is None and parts.keeps([part], tensor.role, tensor.layer):
                    raise MissingPart(
                        statement=f"--parts {part}",
                        part=f"tensor {tensor.name}",
                        remedy=f"Extract the whole: larqldb extract {self.properties['source']} -o NAME.vindex",
                    )

    def _lacks(self) -> list[str]:
        """The parts left out, those of some layers by the layers that are."""
        layers = range(int(self.properties["layers"]))
        found = []
        for name in parts.TABLES:
            part = next((one for one in self.chosen if one.name == name), None)
            if part is None:
                if not (name == "gates" and Part("ffn") in self.chosen):
                    found.append(name)
            elif part.first is not None and part.last is not None:
                rest = [range(part.first), range(part.last + 1, len(layers))]
                found += [str(Part(name, some[0], some[-1])) for some in rest if some]
        return found

    def _described(self) -> dict[str, Any]:
        """The properties of the slice."""
        made = dict(self.properties)
        if not self.lacks:
            return made
        whole = all(Part(name) in self.chosen for name in parts.NETWORK)
        features = next((one for name in ("gates", "ffn") for one in self.chosen if one.name == name), None)
        made |= {
            "parts": json.dumps([str(part) for part in self.chosen]),
            "lacks": json.dumps(self.lacks),
            "level": made["level"] if whole else "browse",
            "sliced_from": made.get("sliced_from", self.name),
        }
        if features is not None and features.first is not None:
            made |= {"first_layer": features.first, "last_layer": features.last}
        return made

    def _write_tensors(self, done: int, steps: int) -> None:
        """All tensors' rows; the bytes of those that are kept."""
        store, kept = TensorStore(self.target), {one.name for one in self.kept}
        columns = [name for (name,) in fetch(self.source, "SELECT name FROM pragma_table_info('tensors')")]
        place = columns.index("storage")
        for row in self.source.execute(f"SELECT {', '.join(columns)} FROM tensors ORDER BY name"):
            held = row if row[0] in kept else (*row[:place], "absent", *row[place + 1 :])
            self.target.execute(f"INSERT INTO tensors VALUES ({', '.join('?' * len(columns))})", held)
        directions: dict[int, set[str]] = {}
        for step, tensor in enumerate(self.kept, start=done):
            self.progress(tensor.name, step, steps)
            if tensor.storage == "features":
                assert tensor.layer is not None
                directions.setdefault(tensor.layer, set()).update(tensor.layout.roles)
            else:
                chunks = self.source.execute(
                    "SELECT tensor, chunk, data FROM tensor_chunks WHERE tensor = ? ORDER BY chunk", (tensor.name,)
                )
                store.db.executemany("INSERT INTO tensor_chunks VALUES (?, ?, ?)", chunks)
        for layer, roles in sorted(directions.items()):
            chosen = ", ".join(name if name in roles else "NULL" for name in DIRECTIONS)
            rows = self.source.execute(
                f"SELECT layer, feature, {chosen} FROM feature_vectors WHERE layer = ? ORDER BY feature", (layer,)
            )
            self.target.executemany(
                "INSERT INTO feature_vectors (layer, feature, gate, up, down) VALUES (?, ?, ?, ?, ?)", rows
            )


def ordered_tables(db: apsw.Connection) -> list[str]:
    """The tables of a vindex, those first that rows of others refer to."""
    names = [
        name
        for (name,) in fetch(db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
        if not name.startswith("sqlite_")
    ]
    return sorted(names, key=lambda name: (name not in FIRST, names.index(name)))


def copy_rows(
    source: apsw.Connection,
    target: apsw.Connection,
    table: str,
    where: str = "true",
    *,
    shifted: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Copy a table's rows in the order of its key, as they are but for numbers that are ``shifted``."""
    columns = fetch(source, f"SELECT name, pk FROM pragma_table_info('{table}')")  # generated ones are not in it
    names = [f'"{name}"' for name, _ in columns]
    values = [f'"{name}" + {shifted[name]}' if name in shifted else f'"{name}"' for name, _ in columns]
    keys = [f'"{name}"' for name, key in sorted(columns, key=lambda column: column[1]) if key]
    rows = source.execute(
        f"SELECT {', '.join(values)} FROM {table} WHERE {where} ORDER BY {', '.join(keys) or 'rowid'}"
    )
    target.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(columns))})", rows)


def copy_migration_times(source: apsw.Connection, target: apsw.Connection) -> None:
    """Let a file say when its source's schema was made: the same source then gives the same bytes."""
    times = fetch(source, "SELECT applied_at, version FROM migrations")
    target.executemany("UPDATE migrations SET applied_at = ? WHERE version = ?", times)
