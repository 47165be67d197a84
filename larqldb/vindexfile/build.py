"""A Vindexfile carried out: from a base, edit by edit, to one clean vindex, the same from the same inputs.

Nothing in the result depends on when or where it was built: times in it are what SOURCE_DATE_EPOCH says, or 1970, and
paths those that the Vindexfile states. Of edits that contradict each other the later counts.
"""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import apsw

from larqldb.compile.slices import write_slice
from larqldb.dbapi import connect, edits
from larqldb.edit.report import Report
from larqldb.errors import (
    BadPatch,
    BuildFailed,
    Error,
    OutputBusy,
    OutputExists,
    OutputFailed,
    ProgrammingError,
    SourceNotFound,
)
from larqldb.extract import extract
from larqldb.extract.sources.hub import fetch as fetch_model
from larqldb.extract.sources.hub import parse_hub_id
from larqldb.knowledge import packs, records
from larqldb.storage import clock
from larqldb.storage.edits import find_patch
from larqldb.storage.outputs import free_place, new_output
from larqldb.vindexfile.cache import Cache, content, key, program
from larqldb.vindexfile.syntax import Edit, Expose, From, Patch, Relations, Vindexfile, parse

if TYPE_CHECKING:
    from larqldb.dbapi import Connection
    from larqldb.vindexfile.syntax import Statement, Step

Progress = Callable[[str, int, int], None]

NAME = "Vindexfile"
SUFFIX = ".vindex"
PROPERTY = "vindexfile"


class Row(NamedTuple):
    """What came of a statement; ``cached`` is 1 where it was not carried out again."""

    line: int | None
    statement: str
    result: str
    cached: int


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build wrote."""

    path: str
    bytes: int
    rows: tuple[Row, ...]


def build(
    folder: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    stage: str | None = None,
    cache: Cache | None = None,
    progress: Progress = lambda *_: None,
) -> BuildReport:
    """Build what a Vindexfile says; ``folder`` is it, or the folder it lies in.

    The result appears under its name when it is whole. Raises BadVindexfile for one that cannot be read, BuildFailed
    for a statement that cannot be carried out, ProgrammingError for a ``stage`` that there is not, SourceNotFound,
    OutputExists, OutputBusy or OutputFailed.
    """
    path, output = Path(folder), Path(target)
    path = path / NAME if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProgrammingError(f"there is no {path}. larqldb build --help shows how to write one") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ProgrammingError(f"{path} cannot be read: {problem}") from None
    said = parse(text, path)
    free_place(output)
    kept = cache or Cache()
    rows = _Build(path, steps_of(said, stage), kept, progress).run(output)
    kept.prune()
    return BuildReport(os.fspath(output), output.stat().st_size, tuple(rows))


def steps_of(said: Vindexfile, stage: str | None) -> tuple[Step, ...]:
    """The statements of a stage: those of all, then its own; ProgrammingError where there is no such stage."""
    if stage is None:
        return said.steps
    for known in said.stages:
        if known.name == stage:
            return (*said.steps, *known.steps)
    names = [known.name for known in said.stages]
    near = difflib.get_close_matches(stage, names, 1)
    hint = f"Did you mean {near[0]}?" if near else f"It has {', '.join(names) or 'none at all'}"
    raise ProgrammingError(f"the Vindexfile has no stage {stage!r}. {hint}")


@dataclass(frozen=True)
class _Prepared:
    """A statement, the file it names, and the key of the state after it."""

    step: Step
    key: str
    files: tuple[Path, ...] = ()


class _Build:
    """The state of one build; ``run`` does it."""

    def __init__(self, path: Path, steps: Sequence[Step], cache: Cache, progress: Progress) -> None:
        self._path, self._cache, self._progress = path, cache, progress
        self._first = steps[0]
        self._steps = [step for step in steps[1:] if not isinstance(step.statement, Expose)]
        self._exposed: Step | None = None
        self._level = "all"
        for step in steps:
            if isinstance(step.statement, Expose):
                self._exposed, self._level = step, step.statement.level
        self._said = "\n".join(str(step.statement) for step in steps)
        self._rows: list[Row] = []

    def run(self, output: Path) -> list[Row]:
        """Carry everything out that was not before, and write the result."""
        statement = self._first.statement
        assert isinstance(statement, From)
        with self._blamed(self._first):
            base = _Base.of(statement.source, self._path.parent, self._cache)
        prepared = self._prepare(base.key)
        last = prepared[-1].key if prepared else base.key
        whole = "inference" if self._level == "inference" else "all"
        result = self._cache.place(key("result", last, whole, self._said, clock.EPOCH, _time()), SUFFIX)
        if self._cache.holds(result):
            for step in (self._first, *(one.step for one in prepared)):
                self._row(step, "as built before", cached=True)
        try:
            if not self._rows:
                self._make(base, prepared, result, whole)
            self._write(result, output)
        except OSError as problem:
            raise OutputFailed(path=output, problem=problem.strerror or str(problem)) from problem
        return self._rows

    def _prepare(self, before: str) -> list[_Prepared]:
        """The statements after FROM with the files they name, each with the key of the state it leaves."""
        found = []
        for step in self._steps:
            with self._blamed(step):
                files = tuple(self._files(step.statement))
                before = key("step", before, str(step.statement), *map(content, files))
            found.append(_Prepared(step, before, files))
        return found

    def _files(self, statement: Statement) -> Iterator[Path]:
        """The files that a statement names; FileNotFoundError where one is not there."""
        if isinstance(statement, Patch):
            yield _found(self._path.parent / statement.path)
        elif isinstance(statement, Relations):
            shipped = {pack.relation for pack in packs.builtin()}
            for name in statement.names:
                if name not in shipped:
                    path = self._path.parent / name
                    if path.suffix != ".tsv" and not path.exists():
                        near = difflib.get_close_matches(name, shipped, 1)
                        hint = f"Did you mean {near[0]}?" if near else "Name one that larqldb ships, or a TSV file"
                        raise ProgrammingError(f"there is no relation {name}. {hint}")
                    yield _found(path)

    def _make(self, base: _Base, prepared: Sequence[_Prepared], result: Path, level: str) -> None:
        """Build the whole result into the cache."""
        with self._blamed(self._first):
            made = base.make(self._cache, self._progress)
        with self._cache.workplace() as folder:
            with self._blamed(self._first):
                base.copy(folder / "work.vindex")
            with closing(connect(folder / "work.vindex")) as connection:
                connection.reports = False
                connection.execute("DELETE FROM patches WHERE NOT active")
                with self._blamed(self._first):
                    connection.session.require("all", "a build", "every tensor of the model")
                self._row(self._first, _described(connection), cached=not made)
                for number, one in enumerate(prepared, start=1):
                    with self._blamed(one.step):
                        outcome, cached = self._carry_out(connection, one, number)
                        connection.commit()
                    self._row(one.step, outcome, cached=cached)
                self._bake(connection, folder / "made.vindex", level, base.origin)
            (folder / "made.vindex").replace(result)

    def _bake(self, connection: Connection, path: Path, level: str, origin: str | None) -> None:
        """Write the one clean file, with nothing in it that was not stated."""
        from larqldb.compile.conflicts import LAST
        from larqldb.compile.vindex import compile_vindex

        def finish(db: apsw.Connection) -> None:
            db.execute("UPDATE migrations SET applied_at = ?", (_time(),))
            db.execute("INSERT OR REPLACE INTO model VALUES (?, ?)", (PROPERTY, self._said))

        rows = compile_vindex(
            connection.session, path, on_conflict=LAST, level=level, origin=origin, finish=finish,
            progress=self._progress,
        )  # fmt: skip
        self._rows += [Row(None, "", row.where, 0) for row in rows if row.what == "conflict"]

    def _carry_out(self, connection: Connection, one: _Prepared, number: int) -> tuple[str, bool]:
        """Run a statement on the working copy; what came of it, and whether that was known."""
        match one.step.statement:
            case Relations(names):
                return _relations(connection, names, one.files), False
            case Patch(path):
                named = Path(connection.path).with_name(f"{one.key}.vlp")  # a name that no other patch has
                shutil.copyfile(one.files[0], named)
                return _apply(connection, named, path), False
            case Edit() as edit:
                name, kept = f"step {number}", self._cache.place(one.key, ".vlp")
                if self._cache.holds(kept):
                    try:
                        return _apply(connection, kept, name), True
                    except BadPatch:  # damaged
                        kept.unlink()
                return _edit(connection, edit, name, kept), False
        raise AssertionError(one.step)

    def _write(self, result: Path, output: Path) -> None:
        """The result, or what of it is exposed, under its name."""
        if self._level == "browse":
            write_slice(result, output, ["browse"], name=self._path.name, progress=self._progress)
        else:
            with new_output(output) as partial:
                shutil.copyfile(result, partial)
        if self._exposed is not None:
            self._row(self._exposed, self._level, cached=False)

    def _row(self, step: Step, outcome: str, *, cached: bool) -> None:
        self._rows.append(Row(step.line, str(step.statement), outcome, int(cached)))

    @contextmanager
    def _blamed(self, step: Step) -> Iterator[None]:
        """Say of an error which line it came of."""
        try:
            yield
        except (OutputExists, OutputBusy, OutputFailed):
            raise
        except OSError as problem:
            missing = isinstance(problem, FileNotFoundError)
            reason = f"there is no file {problem.filename}" if missing else f"{problem.filename}: {problem.strerror}"
            raise BuildFailed(
                path=self._path, line=step.line, statement=str(step.statement), problem=reason
            ) from problem
        except (Error, apsw.Error) as problem:
            raise BuildFailed(
                path=self._path, line=step.line, statement=str(step.statement), problem=problem
            ) from problem


@dataclass(frozen=True)
class _Base:
    """What FROM names: ``path`` is a vindex, which ``make`` extracts from ``model`` where that is not None.

    ``origin`` is what the result shall say it was made from, None: what the vindex says.
    """

    path: Path
    key: str
    model: str | None = None
    origin: str | None = None

    @classmethod
    def of(cls, named: str, folder: Path, cache: Cache) -> _Base:
        """What a name means, looked up from the Vindexfile's folder."""
        local = (folder / named).expanduser()
        hub_id = parse_hub_id(named)
        if local.exists() and not (hub_id is not None and hub_id.explicit):
            if local.is_file() and local.suffix == SUFFIX:
                return cls(local, key("vindex", program(), content(local)))
            known = key("base", program(), content(local))
            return cls(cache.place(known, SUFFIX), known, os.fspath(local), named)
        if named.endswith(SUFFIX) or hub_id is None:
            remedy = f"Fetch it first: larqldb pull {named}" if named.startswith("hf://") else "Check the path"
            raise SourceNotFound(source=named, remedy=remedy)
        origin = fetch_model(hub_id).origin  # says which commit
        known = key("base", program(), origin)
        return cls(cache.place(known, SUFFIX), known, origin)

    def make(self, cache: Cache, progress: Progress) -> bool:
        """See to it that the vindex is there; whether it had to be made."""
        if self.model is None or cache.holds(self.path):
            return False
        extract(self.model, self.path, progress=progress)
        return True

    def copy(self, target: Path) -> None:
        """A copy to work on, of a state in which no transaction is half done."""
        with (
            closing(apsw.Connection(os.fspath(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as source,
            closing(apsw.Connection(os.fspath(target))) as copy,
            copy.backup("main", source, "main") as backup,
        ):
            backup.step()


def _described(connection: Connection) -> str:
    """A model in a few words."""
    model = connection.session.model
    return f"{model['architecture']}, {model['layers']} layers of {model['ffn_size']:,} features"


def _relations(connection: Connection, names: Sequence[str], files: Sequence[Path]) -> str:
    """Add relations' wordings and facts to those there."""
    shipped = {pack.relation: pack for pack in packs.builtin()}
    waiting, db = iter(files), connection.database
    wordings = facts = 0
    with edits.writing(connection):
        for name in names:
            pack = shipped.get(name) or packs.read(next(waiting))
            records.add_relation(db, pack.relation, pack.description or None, "pack" if name in shipped else "user")
            known = records.templates_of(db, pack.relation)
            records.replace_templates(db, pack.relation, list(dict.fromkeys([*known, *pack.wordings])))
            records.add_facts(db, pack.relation, pack.facts, pack.relation if name in shipped else name)
            wordings, facts = wordings + len(pack.wordings), facts + len(pack.facts)
    return f"{wordings} wordings, {facts} facts"


def _apply(connection: Connection, path: Path, name: str) -> str:
    """Apply a patch file under a name; how many operations it has, and what conflicts."""
    if find_patch(connection.database, name) is not None:
        raise ProgrammingError(f"patch {name!r} is in effect already")
    rows = connection.execute("APPLY PATCH ?", (os.fspath(path),)).fetchall()
    connection.execute("UPDATE patches SET patch = ? WHERE patch = ?", (name, rows[0][1]))
    problems = [where for what, where, *_ in rows if what == "conflict"]
    return "; ".join([f"{rows[0][2]} operations", *problems])


def _edit(connection: Connection, edit: Edit, name: str, kept: Path) -> str:
    """Run an edit as a patch of its own, which is kept; what it did."""
    connection.execute("BEGIN PATCH ?", (name,))
    rows = connection.execute(edit.lql).fetchall()
    connection.execute("SAVE PATCH ?", (os.fspath(kept),))
    done = []
    for report in map(Report._make, rows):
        what = " ".join(filter(None, report[:3])) or f"layer {report.layer} feature {report.feature}"
        sure = "" if report.probability_after is None else f" {report.probability_after:.3g}"
        done.append(f"{what}{sure}" + (f" ({report.note})" if report.note else ""))
    return "; ".join(done) or "nothing to change"


def _found(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(None, "no such file", os.fspath(path))
    return path


def _time() -> str:
    """The time that the result records."""
    return clock.now() if os.environ.get(clock.EPOCH) else "1970-01-01T00:00:00+00:00"
