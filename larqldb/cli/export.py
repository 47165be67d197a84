"""``larqldb export``: edges for other tools."""

from __future__ import annotations

from contextlib import closing

import click

from larqldb.cli.interrupts import notice_interrupts
from larqldb.cli.options import example
from larqldb.cli.output import write_text
from larqldb.dbapi import Connection, connect
from larqldb.dbapi.failures import closest
from larqldb.knowledge.export import FORMATS
from larqldb.knowledge.export import export as pieces_of


@click.command(epilog=example("larqldb export smol.vindex --format turtle --min-confidence 0.5 -o beliefs.ttl"))
@click.argument("file")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), required=True, help="What to write.")
@click.option("-o", "--output", metavar="OUT", help="Where to; standard output without it. Replaces a file.")
@click.option(
    "--min-confidence", "least", type=click.FloatRange(0, 1), metavar="0-1", help="Only edges at least so sure."
)
@click.option("--relation", "relations", multiple=True, metavar="NAME", help="Only this relation; may be repeated.")
@click.option(
    "--source", "sources", multiple=True, metavar="SOURCE", help="Only edges from here (probe, static, …); repeatable."
)
def export(
    file: str, form: str, output: str | None, least: float | None, relations: tuple[str, ...], sources: tuple[str, ...]
) -> None:
    """Write edges for other tools.

    turtle (RDF), graphml, csv and jsonl (one JSON object a line). The file appears under its name when it is whole.
    """
    with closing(connect(file, read_only=True)) as connection:
        notice_interrupts(connection)
        connection.execute("BEGIN")  # what is read in several steps is of one state of the file
        for column, wanted in (("relation", relations), ("source", sources)):
            _check(connection, column, wanted)
        write_text(pieces_of(connection.database, form, least=least, relations=relations, sources=sources), output)


def _check(connection: Connection, column: str, wanted: tuple[str, ...]) -> None:
    """Refuse names that no edge has: most likely they are misspelt."""
    if not wanted:
        return
    known = [name for (name,) in connection.execute(f"SELECT DISTINCT {column} FROM edges ORDER BY 1")]
    for name in wanted:
        if name not in known:
            near = closest(name, known)
            hint = f"Did you mean {near}?" if near else f"There are: {', '.join(known[:20]) or 'no edges at all'}"
            raise click.UsageError(f"no edge has the {column} {name!r}. {hint}")
