"""What two states of edits have apart: the facts and removed features of one that the other has not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from larqldb.storage.edits import Operation


@dataclass(frozen=True)
class Group:
    """The operations of one fact, in order."""

    operations: tuple[Operation, ...]

    @property
    def first(self) -> Operation:
        """The one that says what they are about."""
        return self.operations[0]

    @property
    def triple(self) -> tuple[str, str, str] | None:
        """Entity, relation and target; None where features are taken away by number."""
        first = self.first
        if first.entity is None or first.relation is None or first.target is None:
            return None
        return first.entity, first.relation, first.target

    @property
    def is_fact(self) -> bool:
        """Whether it inserts a fact."""
        return self.first.operation in ("insert", "update", "insert_knn")

    @property
    def sureness(self) -> float:
        """The confidence that was given, or else how probable the edit made its target."""
        first = self.first
        return first.confidence if first.confidence is not None else first.probability or 0.0

    @property
    def bytes(self) -> int:
        """Of its vectors."""
        vectors = ((one.gate, one.up, one.down) for one in self.operations)
        return sum(vector.nbytes for several in vectors for vector in several if vector is not None)

    @property
    def same(self) -> tuple[object, ...]:
        """What two groups that do the same have in common: all but the numbers of features that were added."""
        return tuple(
            (
                "insert" if one.operation == "update" else one.operation,
                *(one.entity, one.relation, one.target, one.layer),
                one.feature if one.down is None else None,
                *(None if vector is None else vector.tobytes() for vector in (one.gate, one.up, one.down)),
            )
            for one in self.operations
        )

    def __str__(self) -> str:
        return (
            " ".join(self.triple)
            if self.triple is not None
            else f"layer {self.first.layer} feature {self.first.feature}"
        )


def groups(operations: Iterable[Operation]) -> list[Group]:
    """Operations by their facts, in order; those that only take others out of effect are left out."""
    found: dict[int | None, list[Operation]] = {}
    for operation in operations:
        if operation.undoes is None or operation.down is not None:
            found.setdefault(operation.fact, []).append(operation)
    return [Group(tuple(several)) for several in found.values()]


def beyond(mine: list[Group], others: list[Group]) -> list[Group]:
    """Those of ``mine`` that ``others`` have not."""
    known = {group.same for group in others}
    return [group for group in mine if group.same not in known]
