"""Help on the language, from the table that the parser works by."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from larqldb.errors import LQLSyntaxError
from larqldb.lql.grammar import FORMS, Form


class Topic(NamedTuple):
    """Help on what is SQL's own, or stands between statements."""

    name: str
    syntax: str
    summary: str
    example: str


TOPICS = (
    Topic(
        "SELECT",
        "any SELECT of SQLite; EDGES, FEATURES or ENTITIES in FROM may be followed by NEAREST TO str AT LAYER n",
        "Rows of tables, views and table functions; NEAREST TO sorts by distance and adds the column distance.",
        'SELECT entity, target, distance FROM EDGES NEAREST TO "Mozart" AT LAYER 26 LIMIT 10',
    ),
    Topic(
        "|>",
        "statement |> statement",
        "The rows of the query on the left are the table _ in the query on the right.",
        'DESCRIBE "France" |> SELECT target, score FROM _ WHERE relation IS NOT NULL',
    ),
)


def statements() -> tuple[Form, ...]:
    """Every LQL statement: verb, syntax, clauses, summary and example."""
    return FORMS


def help_text(topic: str | None = None) -> str:
    """Help on a statement (``DESCRIBE``, ``SHOW``, ``EXPLAIN WALK``), or a list of all statements.

    Raises LQLSyntaxError, with a suggestion, for a topic that is none.
    """
    everything: tuple[Form | Topic, ...] = (*FORMS, *TOPICS)
    if topic is None:
        width = max(len(form.name) for form in everything)
        return "\n".join(f"{form.name:{width}}  {form.summary}" for form in everything)
    wanted = topic.upper().split()
    chosen = [form for form in everything if form.name.split()[: len(wanted)] == wanted]
    if not chosen:
        close = difflib.get_close_matches(" ".join(wanted)[:40], [form.name for form in everything], 1)
        hint = f"did you mean {close[0]}?" if close else "see: larqldb help"
        raise LQLSyntaxError("there is no help on this", line=1, column=1, text=topic, hint=hint)
    return "\n\n".join(map(_describe, chosen))


def _describe(form: Form | Topic) -> str:
    lines = [form.summary, "", f"    {form.syntax}", ""]
    if isinstance(form, Form) and form.clauses:
        width = max(len(clause.syntax) for clause in form.clauses)
        lines += (f"    {clause.syntax:{width}}  {clause.means}" for clause in form.clauses)
        lines.append("")
    return "\n".join((*lines, f"Example: {form.example};"))
