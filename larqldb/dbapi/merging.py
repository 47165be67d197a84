"""MERGE, and DIFF INTO PATCH: edits of one vindex brought into another, or into a file."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from larqldb.dbapi.edits import writing
from larqldb.errors import BadPatch, InterfaceError, ProgrammingError
from larqldb.storage import edits
from larqldb.storage.database import fetch, open_database
from larqldb.storage.edits import Operation

if TYPE_CHECKING:
    import apsw

    from larqldb.dbapi.connection import Connection
    from larqldb.edit.difference import Group

Row = tuple[Any, ...]
KEEP_SOURCE, KEEP_TARGET, HIGHEST = "keep_source", "keep_target", "highest_confidence"


def merge(command: Any, connection: Connection) -> list[Row]:
    """MERGE: the edits in effect in one vindex, as a patch of another, which acts after all others there.

    What both have is left alone. Where both insert another target for the same entity and relation, ``ON CONFLICT``
    decides; without it the source's counts. Rows: the patch, and each conflict with what became of it. Raises BadPatch
    where the two are not of the same model.
    """
    source, target = _path(command.source), command.target
    if target is None:
        return _merge(source, connection, command.on_conflict or KEEP_SOURCE)
    from larqldb.dbapi.connection import connect

    with closing(connect(_path(target))) as other:
        rows = _merge(source, other, command.on_conflict or KEEP_SOURCE)
        other.commit()
    return rows


def diff_into_patch(command: Any, connection: Connection) -> list[Row]:
    """DIFF … INTO PATCH: a file which, applied to the left vindex, gives what the right one says.

    LAYER, RELATION and LIMIT choose what it holds. Raises BadPatch where the two are not of the same model.
    """
    from larqldb.edit import patch_file
    from larqldb.edit.difference import beyond, groups
    from larqldb.edit.patch_file import Entry

    states = []
    fingerprints = []
    for path in (command.left, command.right):
        db = connection.database if path is None else open_database(_path(path), read_only=True)
        try:
            states.append(groups(edits.in_effect(db)))
            fingerprints.append(_fingerprint(db))
        finally:
            if path is not None:
                db.close()
    path = Path(_path(command.patch))
    path = path if path.suffix else path.with_name(f"{path.name}.vlp")
    if fingerprints[0] != fingerprints[1]:
        raise _other_model(path)
    left, right = states
    lifted = [group for group in beyond(left, right) if not group.is_fact]
    gone = [group for group in beyond(left, right) if group.is_fact]
    chosen = [(group, True) for group in gone] + [(group, False) for group in beyond(right, left)]
    chosen = [
        (group, is_gone)
        for group, is_gone in chosen
        if command.layer in (None, group.first.layer) and command.relation in (None, group.first.relation)
    ][: command.limit]
    entries: list[Entry] = []
    for group, is_gone in chosen:
        first = len(entries)
        if is_gone:
            entity, relation, target = group.triple or ("", "", "")
            taken = Operation("delete", entity=entity, relation=relation, target=target)
            entries.append(Entry(taken, first, (entity, relation, target)))
        else:
            entries += [Entry(replace(one, undoes=None), first) for one in group.operations]
    model = connection.session.model
    made = patch_file.PatchFile(
        path.name, fingerprints[0], str(model["source"]), datetime.now(UTC).isoformat(timespec="seconds"),
        f"what {command.right or 'the current vindex'} has apart from {command.left or 'the current vindex'}",
        tuple(entries),
    )  # fmt: skip
    rows: list[Row] = [("patch", str(path), len(entries), patch_file.write(path, made))]
    return rows + [("conflict", f"{group}: a patch cannot lift this deletion", 1, None) for group in lifted]


def _merge(source: str, connection: Connection, rule: str) -> list[Row]:
    from larqldb.dbapi.patches import insert_entries
    from larqldb.edit.difference import beyond, groups
    from larqldb.edit.patch_file import Entry, PatchFile

    with closing(open_database(source, read_only=True)) as other:
        theirs, fingerprint = groups(edits.in_effect(other)), _fingerprint(other)
    if fingerprint != connection.session.model["fingerprint"]:
        raise _other_model(source)
    with writing(connection) as db:
        editor = connection.editor
        if editor.open_patch is not None and edits.find_patch(db, editor.open_patch) is not None:
            raise ProgrammingError(
                f"patch {editor.open_patch!r} is open: SAVE PATCH ends it, then others can be merged"
            )
        ours = groups(edits.in_effect(db))
        facts = {group.triple[:2]: group for group in ours if group.is_fact and group.triple is not None}
        entries: list[Entry] = []
        rows: list[Row] = []
        for group in beyond(theirs, ours):
            about = group.triple
            mine = facts.get(about[:2]) if group.is_fact and about is not None else None
            undoes = None
            if mine is not None and about is not None and mine.triple is not None:
                if not _source_counts(rule, group, mine):
                    rows.append(("conflict", f"{group}: left out for {mine.triple[2]}", 1, None))
                    continue
                undoes = mine.triple
                rows.append(("conflict", f"{group}: in the place of {mine.triple[2]}", 1, None))
            first = len(entries)
            entries += [
                Entry(replace(one, undoes=None), first, undoes if place == 0 else None)
                for place, one in enumerate(group.operations)
            ]
        name = _free(db, Path(source).stem)
        if entries:
            edits.add_patch(db, name, str(fingerprint), description=f"merged from {source}")
            made = PatchFile(name, str(fingerprint), source, "", None, tuple(entries))
            rows += [("conflict", problem, 1, None) for problem in insert_entries(made, name, connection)]
            edits.show(db)
        return [("patch", name, len(entries), None), *rows]


def _source_counts(rule: str, theirs: Group, mine: Group) -> bool:
    return rule == KEEP_SOURCE or (rule == HIGHEST and theirs.sureness > mine.sureness)


def _free(db: apsw.Connection, name: str) -> str:
    """A name that no patch has."""
    taken, number, made = {patch.patch for patch in edits.patches(db)}, 1, name
    while made in taken:
        number += 1
        made = f"{name}-{number}"
    return made


def _fingerprint(db: apsw.Connection) -> Any:
    found = fetch(db, "SELECT value FROM model WHERE key = 'fingerprint'")
    return found[0][0] if found else None


def _other_model(path: object) -> BadPatch:
    problem = "the two vindexes are not of the same model, and edits belong to one model"
    return BadPatch(path=path, problem=problem, remedy="DIFF shows what differs between models")


def _path(value: object) -> str:
    if not isinstance(value, str):
        raise InterfaceError(f"a path must be text, not {type(value).__name__}")
    return value
