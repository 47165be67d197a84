"""COMPILE … INTO VINDEX: one clean file, the edits in its weights and no patches left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from larqldb.compile.baked_source import BakedSource
from larqldb.compile.carried import carry
from larqldb.compile.conflicts import settle
from larqldb.compile.model_files import Row
from larqldb.compile.slices import copy_migration_times
from larqldb.compile.state import baked, check_patches
from larqldb.edit.difference import groups
from larqldb.functions import edits as functions_edits
from larqldb.functions.session import Session
from larqldb.storage import edits
from larqldb.storage.database import fetch
from larqldb.storage.new_file import new_vindex

if TYPE_CHECKING:
    import apsw

    from larqldb.compile.conflicts import Conflict
    from larqldb.compile.state import BakedModel
    from larqldb.edit.difference import Group

Progress = Callable[[str, int, int], None]
ALL = 1 << 20  # wordings of a relation


def compile_vindex(
    session: Session,
    target: str | os.PathLike[str],
    *,
    on_conflict: str | None = None,
    level: str | None = None,
    origin: str | None = None,
    finish: Callable[[apsw.Connection], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> list[Row]:
    """Write the model with the edits in effect as a vindex of its own, which appears when it is whole.

    It is what extracting the model's files would give, with a new fingerprint; what the vindex knows comes along, and
    what edits make stale is asked again. ``on_conflict`` (see ``conflicts.settle``) chooses between patches that
    contradict each other; without it all count, as they do now. ``level`` is how much it holds, by default what this
    one does, ``origin`` what it says it was made from; ``finish`` may add to the new file before it is sealed. The
    caller sees to it that the vindex does not change meanwhile.

    Raises CannotCompile, BadPatch, MissingPart, OutputExists, OutputBusy, OutputFailed.
    """
    from larqldb.extract.pipeline import write

    session.require("all", "COMPILE", "every tensor of the model")
    check_patches(session)
    db, path = session.db, Path(target)
    operations, conflicts = settle(edits.in_effect(db), on_conflict)
    live = functions_edits.live(session.network, operations, db.filename or "the database")
    names = [name for (name,) in fetch(db, "SELECT name FROM files")]
    model = baked(session.store, session.network, live, session.files(*names))
    made = groups(operations)
    with new_vindex(path) as new:
        source = BakedSource(model, origin or str(session.model["source"]), session.model["source_format"])
        write(new, source, level=level or session.model["level"], progress=progress)
        again = carry(db, new, model, made)
        _ask(new, again)
        copy_migration_times(db, new)
        new.execute("UPDATE edit_state SET stamp = 0, shown = 0")
        finish(new)
    return list(_rows(path, session, model, made, conflicts, again))


def _ask(new: apsw.Connection, pairs: Sequence[tuple[str, str]]) -> None:
    """Ask the new model in the wordings that its answers are known in."""
    if not pairs:
        return
    from larqldb.knowledge.live import ask_entity, store

    session = Session(new)
    for relation, entity in pairs:
        store(session, entity, ask_entity(session, entity, [relation], least=0, wordings=ALL))


def _rows(
    path: Path,
    session: Session,
    model: BakedModel,
    made: Sequence[Group],
    conflicts: Sequence[Conflict],
    again: Sequence[tuple[str, str]],
) -> Iterator[Row]:
    """What was written: the file, the facts in it, what was decided, and what was asked again."""
    notes = []
    if model.grown:
        notes.append(f"layers of {model.network.ffn:,} features, {model.base.ffn:,} before")
    if again:
        notes.append(f"asked again: {', '.join(f'{entity} {relation}' for relation, entity in again)}")
    count = sum(len(slots.places) for slots in model.slots.values())
    yield Row("vindex", str(path), count, path.stat().st_size, note="; ".join(notes) or None)
    for group in made:
        if group.is_fact:
            yield Row("fact", str(group), len(group.operations), group.bytes, group.first.probability)
    for conflict in conflicts:
        yield Row("conflict", str(conflict), 1)
