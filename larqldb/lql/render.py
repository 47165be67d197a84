"""Nodes → LQL: prints a statement so that parsing it again gives the same node."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from larqldb.lql import nodes
from larqldb.lql.grammar import FORM_OF, Clause, Kind, Operand
from larqldb.lql.tokens import quote_lql


def render(node: nodes.Statement) -> str:
    """A statement as LQL, its clauses in the order of the grammar."""
    if isinstance(node, nodes.Sql):
        return node.text
    if isinstance(node, nodes.Select):
        return "".join(part if isinstance(part, str) else _nearest(part) for part in node.parts)
    if isinstance(node, nodes.Pipe):
        return " |> ".join(render(stage) for stage in node.stages)
    form = FORM_OF[type(node)]
    words = list(form.verb)
    words += (item if isinstance(item, str) else _operand(item, getattr(node, item.field)) for item in form.head)
    defaults = {field.name: field.default for field in fields(node)}  # type: ignore[arg-type]
    done: set[str] = set()
    for clause in form.clauses:
        default = defaults.get(clause.field, MISSING)
        value = getattr(node, clause.field, default)
        if clause.field in done or value == default or (clause.kind is None and value != clause.value):
            continue
        done.add(clause.field)
        words += clause.words
        if clause.equals:
            words.append("=")
        if clause.kind is not None:
            words.append(_operand(clause, value))
    return " ".join(words)


def _operand(part: Operand | Clause, value: Any) -> str:
    match part.kind:
        case Kind.SOURCE if value is None:
            return "CURRENT"
        case Kind.CHOICE:
            return str(value).upper()
        case Kind.CHOICES:
            return ", ".join(value).upper()
        case Kind.LAYERS:
            return f"{_literal(value.first)}-{_literal(value.last)}"
        case Kind.ASSIGNMENTS:
            return ", ".join(f"{column} = {_literal(item)}" for column, item in value)
        case Kind.ROWS:
            columns = "(entity, relation, target)"
            if isinstance(value, nodes.Fragment):
                return f"{columns} {value.text}"
            return f"{columns} VALUES " + ", ".join(f"({', '.join(map(_literal, row))})" for row in value)
        case _:
            return _literal(value)


def _literal(value: nodes.Text | nodes.Number | nodes.Fragment) -> str:
    if isinstance(value, nodes.Fragment):
        return value.text
    if isinstance(value, str):
        # A string that is also a column's name would be read as the column between double quotes.
        return quote_lql(value, "'")
    return str(value)


def _nearest(near: nodes.Nearest) -> str:
    alias = "" if near.alias is None else ' AS "' + near.alias.replace('"', '""') + '"'
    return f"{near.table.upper()} NEAREST TO {_literal(near.text)} AT LAYER {_literal(near.layer)}{alias}"
