"""BEGIN, SAVE, APPLY and REMOVE PATCH: edits that go together, in the vindex and as files."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.dbapi.edits import writing
from larqldb.errors import BadPatch, InterfaceError, ProgrammingError
from larqldb.storage import edits
from larqldb.storage.edits import Operation

if TYPE_CHECKING:
    from larqldb.dbapi.connection import Connection
    from larqldb.edit.patch_file import PatchFile
    from larqldb.edit.reference_patch import ReferenceOperation
    from larqldb.storage.edits import Patch

Row = tuple[Any, ...]
SUFFIX = ".vlp"


def begin(name: object, connection: Connection) -> list[Row]:
    """BEGIN PATCH: edits from here on belong to this patch, until SAVE PATCH, COMMIT notwithstanding.

    Raises ProgrammingError where there is such a patch, or one is open.
    """
    name, editor = _text(name), connection.editor
    with writing(connection) as db:
        if editor.open_patch is not None and edits.find_patch(db, editor.open_patch) is not None:
            raise ProgrammingError(f"patch {editor.open_patch!r} is open: SAVE PATCH ends it")
        if _find(connection, name) is not None:
            raise ProgrammingError(
                f"there is a patch {name!r} already: choose another name, or DELETE FROM patches WHERE patch = '…'"
            )
        edits.add_patch(db, name, _fingerprint(connection))
    editor.open_patch = name
    return [("patch", name, 0, None)]


def save(name: object, connection: Connection) -> list[Row]:
    """SAVE PATCH: the open patch, or the one named, into a file; the open patch ends.

    A name that no patch has is that of the file, for the open patch or else the last one in order. Raises
    ProgrammingError where there is none, OutputExists or OutputFailed where the file cannot be written.
    """
    from larqldb.edit import patch_file

    editor, db = connection.editor, connection.database
    active = [patch for patch in edits.patches(db) if patch.active]
    current = next((patch for patch in active if patch.patch == editor.open_patch), active[-1] if active else None)
    named = None if name is None else _find(connection, _text(name))
    patch = named or current
    if patch is None:
        raise ProgrammingError("there is no patch to save: BEGIN PATCH begins one, and so does the first edit")
    path = Path(patch.patch if name is None or named is not None else _text(name))
    path = path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)
    operations = edits.operations(db, patch.patch)
    names = {one.fact: (one.entity, one.relation, one.target) for one in edits.named(db)}
    made = patch_file.PatchFile(
        patch.patch, patch.base_fingerprint, str(connection.session.model["source"]), patch.created_at,
        patch.description, patch_file.grouped(operations, names),
    )  # fmt: skip
    size = patch_file.write(path, made)
    if editor.open_patch == patch.patch:
        editor.open_patch = None
    return [("patch", str(path), len(operations), size)]


def apply(name: object, connection: Connection) -> list[Row]:
    """APPLY PATCH: one of this vindex that is out of effect, or a file; it acts after all others.

    The rows say what was applied, and each conflict: another target for the same entity and relation, or a fact to be
    taken out that is not there. Raises BadPatch for a file that is damaged or belongs to another model, PatchNotFound
    where there is none, ProgrammingError for a patch that is in effect already.
    """
    from larqldb.edit import patch_file, reference_patch

    name, editor = _text(name), connection.editor
    if editor.open_patch is not None and edits.find_patch(connection.database, editor.open_patch) is not None:
        raise ProgrammingError(f"patch {editor.open_patch!r} is open: SAVE PATCH ends it, then others can be applied")
    known = _find(connection, name)
    with writing(connection) as db:
        before = edits.inserted(db)
        problems: list[str] = []
        if known is not None:
            if known.active:
                raise ProgrammingError(f"patch {known.patch!r} is in effect already")
            edits.activate(db, known.patch)
            patch = known.patch
        else:
            path = Path(name)
            if not path.exists() and path.suffix != SUFFIX:
                path = path.with_name(path.name + SUFFIX)
            data = patch_file.content(path)
            patch = path.name
            if edits.find_patch(db, patch) is not None:
                patch = str(path)
            if reference_patch.is_reference(data):
                problems = _apply_reference(data, path, patch, connection)
            else:
                problems = _apply_file(patch_file.read(path), path, patch, connection)
        edits.show(db)
        connection.session.live  # noqa: B018 - what does not fit the model is said now
        count = len(edits.operations(db, patch))
        rows: list[Row] = [("patch", patch, count, None)]
        rows += [("conflict", problem, 1, None) for problem in problems + _conflicts(before, edits.inserted(db), patch)]
    return rows


def remove(name: object, connection: Connection) -> list[Row]:
    """REMOVE PATCH: out of effect; it stays in the vindex and can be applied again.

    Raises ProgrammingError for a patch that is not there or not in effect.
    """
    name, editor = _text(name), connection.editor
    with writing(connection) as db:
        patch = _find(connection, name)
        if patch is None:
            close = difflib.get_close_matches(name, [one.patch for one in edits.patches(db)], 1)
            hint = f"; did you mean {close[0]!r}?" if close else "; SHOW PATCHES lists them"
            raise ProgrammingError(f"there is no patch {name!r}{hint}")
        if not patch.active:
            raise ProgrammingError(f"patch {patch.patch!r} is not in effect")
        edits.deactivate(db, patch.patch)
        count = len(edits.operations(db, patch.patch))
    if editor.open_patch == patch.patch:
        editor.open_patch = None
    return [("patch", patch.patch, count, None)]


def insert_entries(made: PatchFile, patch: str, connection: Connection) -> list[str]:
    """Write a file's operations into a patch that is there; gives what could not be done."""
    db, own, problems = connection.database, connection.session.network.ffn, list[str]()
    numbers: dict[tuple[int, int], int] = {}
    used: dict[int, set[int]] = {}

    def taken(layer: int) -> set[int]:
        return used.setdefault(layer, edits.feature_numbers(db, layer))

    groups: dict[int, list[Operation]] = {}
    for entry in made.entries:
        operation = replace(entry.operation, undoes=None)
        if entry.undoes is not None:
            fact = next(
                (one.fact for one in edits.inserted(db) if (one.entity, one.relation, one.target) == entry.undoes), None
            )
            if fact is None:
                problems.append(f"{' '.join(entry.undoes)}: to be taken out, but not there")
                if operation.down is None:
                    continue
            operation = replace(operation, undoes=fact)
        groups.setdefault(entry.fact, []).append(operation)
    for group in groups.values():
        renumbered = []
        for operation in group:
            layer, feature = operation.layer, operation.feature
            if layer is not None and feature is not None and operation.is_feature:
                number = feature if feature not in taken(layer) else max(*taken(layer), own - 1) + 1
                taken(layer).add(number)
                numbers[layer, feature] = number
                operation = replace(operation, feature=number)
            elif operation.is_removal and feature is not None and feature >= own and layer is not None:
                operation = replace(operation, feature=numbers.get((layer, feature), feature))
            renumbered.append(operation)
        edits.write(db, patch, renumbered)
    return problems


def _apply_file(made: PatchFile, path: Path, patch: str, connection: Connection) -> list[str]:
    if made.fingerprint != _fingerprint(connection):
        problem = f"it was made for another model ({made.source}), not for {connection.session.model['source']}"
        raise BadPatch(path=path, problem=problem, remedy="Apply it to a vindex of that model")
    db = connection.database
    edits.add_patch(db, patch, made.fingerprint, description=made.description, created_at=made.created_at)
    return insert_entries(made, patch, connection)


def _apply_reference(data: bytes, path: Path, patch: str, connection: Connection) -> list[str]:
    """Take over what a patch of the reference system does to the network; gives what it leaves alone."""
    from larqldb.edit import reference_patch

    network, db = connection.session.network, connection.database
    made = reference_patch.parse(data, path, network.hidden, network.layers)
    edits.add_patch(
        db, patch, _fingerprint(connection), description=made.description, created_at=made.created_at or None
    )
    problems = []
    for operation in made.operations:
        problem = _take_over(operation, patch, connection)
        if problem is not None:
            problems.append(problem)
    return problems


def _take_over(given: ReferenceOperation, patch: str, connection: Connection) -> str | None:
    """Write what an operation of the reference system comes to; a sentence where that is nothing."""
    db, session, editor = connection.database, connection.session, connection.editor
    facts: dict[str, Any] = {"entity": given.entity, "relation": given.relation or "associates", "target": given.target}
    match given.op:
        case "delete":
            edits.write(db, patch, [Operation("delete", layer=given.layer, feature=given.feature)])
        case "delete_knn":
            found = [one for one in edits.inserted(db) if one.operation == "insert_knn" and one.entity == given.entity]
            if not found:
                return f"{given.entity}: to be taken out, but not there"
            for one in found:
                triple: dict[str, Any] = {"entity": one.entity, "relation": one.relation, "target": one.target}
                edits.write(db, patch, [Operation("delete", **triple, undoes=one.fact)])
        case "insert_knn":
            entity, relation, target = map(str, facts.values())
            (group,) = editor.compose([(entity, relation, target)], layer=given.layer, mode="knn")
            edits.write(db, patch, [replace(one, confidence=given.confidence) for one in group])
        case "insert" | "update":
            if given.gate is None and given.up is None and given.down is None:
                return f"{given.entity or 'a feature'}: a label without vectors, which changes nothing the model says"
            vectors = _vectors(given, connection)
            assert given.layer is not None
            number = edits.next_feature(db, given.layer, session.network.ffn)
            made = Operation("insert", layer=given.layer, feature=number, confidence=given.confidence, **vectors)
            if given.op == "update":
                target = editor.first_token(vectors["down"])
                edits.write(db, patch, [Operation("delete", layer=given.layer, feature=given.feature)])
                named: dict[str, Any] = {
                    "entity": f"feature {given.feature}",
                    "relation": "associates",
                    "target": target,
                }
                edits.write(db, patch, [replace(made, **named)])
            else:
                edits.write(db, patch, [replace(made, **facts)])
    return None


def _vectors(given: ReferenceOperation, connection: Connection) -> dict[str, Any]:
    """A feature's vectors; what an update leaves out is the feature's own, what an insert does as the reference has it.

    Gates and ups along the key, downs along the target's embedding, as long as is usual in the layer.
    """
    session, layer = connection.session, given.layer
    assert layer is not None
    found = {"gate": given.gate, "up": given.up, "down": given.down}
    for role, vector in found.items():
        if vector is not None:
            continue
        if given.op == "update" and given.feature is not None:
            found[role] = session.matrix(role, layer)[given.feature]
            continue
        along = given.gate if role != "down" else None
        if along is None:
            along = session.embedding(session.tokenizer.encode(f" {given.target}", special=False)[:1])[0]
        usual = float(np.median(np.linalg.norm(session.matrix(role, layer), axis=1)))
        found[role] = np.asarray(along / np.linalg.norm(along) * usual, np.float32)
    if not session.network.gated:
        found["up"] = None
    return found


def _conflicts(before: list[edits.InsertedFact], after: list[edits.InsertedFact], patch: str) -> list[str]:
    """Facts of a patch beside which another target of the same entity and relation was in effect."""
    others = {(one.entity, one.relation): one for one in before if one.patch != patch}
    found = []
    for one in after:
        other = others.get((one.entity, one.relation))
        if one.patch == patch and other is not None and other.target != one.target:
            found.append(f"{one.entity} {one.relation}: {one.target} here, {other.target} in {other.patch}")
    return found


def _find(connection: Connection, name: str) -> Patch | None:
    """A patch of the vindex by its name, its file's name, or either without the ending."""
    known: dict[str, Patch] = {}
    for patch in reversed(edits.patches(connection.database)):
        known |= {Path(patch.patch).stem: patch, Path(patch.patch).name: patch}
    known |= {patch.patch: patch for patch in edits.patches(connection.database)}
    base = Path(name).name
    return next((known[one] for one in (name, name + SUFFIX, base, base.removesuffix(SUFFIX)) if one in known), None)


def _fingerprint(connection: Connection) -> str:
    return str(connection.session.model["fingerprint"])


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise InterfaceError(f"a patch's name must be text, not {type(name).__name__}")
    if not name.strip():
        raise ProgrammingError("a patch needs a name")
    return name
