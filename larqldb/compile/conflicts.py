"""Edits of several patches that contradict one another, and which of them count."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.edit.difference import Group, groups
from larqldb.errors import CannotCompile

if TYPE_CHECKING:
    from larqldb.storage.edits import Operation

LAST, SUREST, FAIL = "last_wins", "highest_confidence", "fail"

Slot = tuple[str, int | None, int | None]  # a patch, a layer, a feature of the model's own


@dataclass(frozen=True)
class Conflict:
    """Two edits of different patches: ``kept`` counts, ``left`` does not; where nothing ``decided``, both do."""

    kept: Group
    left: Group
    decided: bool

    def __str__(self) -> str:
        kept, left = (f"{group} (patch {group.first.patch})" for group in (self.kept, self.left))
        return f"{kept} counts, {left} does not" if self.decided else f"{left} and {kept} both count"


def settle(operations: Iterable[Operation], rule: str | None) -> tuple[list[Operation], list[Conflict]]:
    """The operations that count, of those in effect, and the conflicts among them.

    Two patches conflict where they insert different targets for the same entity and relation, where one inserts a fact
    that the other deletes, or where they make different things of the same feature of the model's own. Of each two
    ``rule`` keeps the later (``last_wins``), or the one inserted with the higher confidence, the later of equals
    (``highest_confidence``). Without a rule all count, as they do in the vindex. Raises CannotCompile for ``fail``.
    """
    known = list(operations)
    edits = groups(known)
    replaced = {slot for group in edits if (slot := _replacing(group)) is not None}
    standing: list[Group] = []
    conflicts: list[Conflict] = []
    for group in edits:
        rivals = [other for other in standing if _contradict(other, group, replaced)]
        if rivals and rule == FAIL:
            raise CannotCompile(
                what=f"{group} (patch {group.first.patch})",
                why=f"it contradicts {rivals[0]} (patch {rivals[0].first.patch})",
                remedy="REMOVE PATCH takes one out of effect; LAST_WINS and HIGHEST_CONFIDENCE choose one",
            )
        surest = max(rivals, key=lambda other: other.sureness, default=None)
        if rule == SUREST and surest is not None and surest.sureness > group.sureness:
            conflicts.append(Conflict(surest, group, decided=True))
            continue
        conflicts += [Conflict(group, other, decided=rule is not None) for other in rivals]
        if rule is not None:
            standing = [other for other in standing if other not in rivals]
        standing.append(group)
    lost = {group.first.fact for group in edits} - {group.first.fact for group in standing}
    return [operation for operation in known if operation.fact not in lost], conflicts


def _contradict(one: Group, other: Group, replaced: set[Slot]) -> bool:
    """Whether two edits of different patches cannot both be meant."""
    if one.first.patch == other.first.patch:
        return False
    mine, theirs = _replacing(one), _replacing(other)
    if mine is not None and theirs is not None:
        return mine[1:] == theirs[1:] and one.same != other.same
    if mine is not None or theirs is not None:  # one replaces a feature: does the other only take it away?
        slot, plain = (mine, other) if mine is not None else (theirs, one)
        assert slot is not None
        gone = {(plain.first.patch, each.layer, each.feature) for each in plain.operations if each.is_removal}
        return (plain.first.patch, *slot[1:]) in gone - replaced
    if one.triple is None or other.triple is None or one.triple[:2] != other.triple[:2]:
        return False
    different = one.triple[2] != other.triple[2]
    return different if one.is_fact and other.is_fact else not different and one.is_fact != other.is_fact


def _replacing(group: Group) -> Slot | None:
    """The feature of the model's own that a group stands in for, as patches of the reference system have it."""
    named = re.fullmatch(r"feature (\d+)", group.first.entity or "")
    if named is None or not group.is_fact or group.first.relation != "associates":
        return None
    return group.first.patch, group.first.layer, int(named.group(1))
