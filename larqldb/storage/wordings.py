"""How a vindex asks for a relation, and of whom it may be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw


def templates(db: apsw.Connection, relation: str) -> list[str]:
    """The wordings of a relation, each holding ``{entity}``; capitals of its name do not matter."""
    rows = fetch(
        db,
        "SELECT template FROM relation_templates WHERE relation = ? COLLATE NOCASE ORDER BY length(template), template",
        (relation,),
    )
    return [template for (template,) in rows]


def entities(db: apsw.Connection, relation: str) -> list[str]:
    """The entities that the relation is known to be of, without those of facts that edits inserted."""
    rows = fetch(
        db,
        "SELECT entity FROM facts WHERE relation = ?1 COLLATE NOCASE UNION "
        "SELECT entity FROM edges WHERE relation = ?1 COLLATE NOCASE AND source NOT IN ('static', 'insert')",
        (relation,),
    )
    return [entity for (entity,) in rows]
