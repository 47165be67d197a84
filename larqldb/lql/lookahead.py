"""Which prompts a join is about to hand to infer(): a query for them, so that they can run together.

SQLite asks a table function for one row of a join at a time. ``SELECT … FROM prompts JOIN infer(prompts.text)`` itself
goes to SQLite as it stands; what this module makes of it is only a guess at what will be asked next, and a wrong one
costs time, never an answer.
"""

from __future__ import annotations

import re
from functools import lru_cache

import sqlglot
from sqlglot import exp

from larqldb.lql.tokens import Kind, tokenize

FUNCTION = "infer"
COLUMNS = frozenset(
    {"rank", "token", "token_id", "probability", "mode", "kl", "rows_pulled", "row_share", "bytes_read"}
)


@lru_cache(256)
def upcoming(sql: str) -> str | None:
    """A SELECT of the prompts that a statement will give to infer(), in the order it most likely will; None without.

    Its placeholders are named ``:p1``, ``:p2``, … for the statement's first, second, …; ``:name`` stays.
    """
    try:
        select = sqlglot.parse_one(_named(sql), read="sqlite")
    except sqlglot.ParseError:
        return None
    if not isinstance(select, exp.Select) or select.args.get("from_") is None:
        return None
    joins = list(select.args.get("joins") or ())
    calls = [place for place, join in enumerate(joins) if _is_call(join.this)]
    if len(calls) != 1:
        return None
    call, before = joins[calls[0]].this, joins[: calls[0]]
    prompt = call.this.expressions[0] if call.this.expressions else None
    if prompt is None or prompt.find(exp.Column) is None:
        return None
    found = exp.Select(expressions=[prompt.copy()], from_=select.args["from_"].copy())
    found.set("joins", [join.copy() for join in before])
    if select.args.get("with_") is not None:
        found.set("with_", select.args["with_"].copy())
    kept = {table.alias_or_name.lower() for table in (select.args["from_"].this, *(join.this for join in before))}
    where, on = select.args.get("where"), joins[calls[0]].args.get("on")
    given = [*_parts(where.this if where is not None else None), *_parts(on)]
    return found.where(*[one.copy() for one in given if _is_about(one, kept)]).sql("sqlite")


def _parts(condition: exp.Expr | None) -> list[exp.Expr]:
    """What AND joins."""
    if isinstance(condition, exp.And):
        return list(condition.flatten())
    return [] if condition is None else [condition]


def _is_call(table: exp.Expr) -> bool:
    function = table.this
    return isinstance(function, exp.Anonymous) and str(function.this).lower() == FUNCTION


def _is_about(condition: exp.Expr, tables: set[str]) -> bool:
    """Whether a condition can be seen to concern these tables alone."""
    return condition.find(exp.Query) is None and all(
        column.table.lower() in tables if column.table else column.name.lower() not in COLUMNS
        for column in condition.find_all(exp.Column)
    )


def _named(sql: str) -> str:
    """The statement with ``?`` and ``?3`` written as ``:p1`` and ``:p3``, which sqlglot reads."""
    pieces, done, number = [], 0, 0
    for token in tokenize(sql, fragment=True):
        if token.kind is Kind.PARAMETER and re.fullmatch(r"\?\d*", token.text):
            number = int(token.text[1:] or number + 1)
            pieces += [sql[done : token.start], f":p{number}"]
            done = token.end
    return "".join((*pieces, sql[done:]))
