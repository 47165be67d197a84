"""``larqldb report``: what a model knows and how, as a page to read."""

from __future__ import annotations

from contextlib import closing

import click

from larqldb.cli.interrupts import notice_interrupts
from larqldb.cli.options import example
from larqldb.cli.output import write_text
from larqldb.dbapi import connect
from larqldb.knowledge.report import report as pieces_of


@click.command(epilog=example("larqldb report smol.vindex -o smol.html"))
@click.argument("file")
@click.option("-o", "--output", metavar="OUT", help="Where to; standard output without it. Replaces a file.")
def report(file: str, output: str | None) -> None:
    """Show what a model knows as a page of HTML.

    Its bands, where relations live, attention against features, edges with their evidence, right and wrong, and how
    sure it is, as far as probing has written them into the file. Nothing is run; the page needs no network.
    """
    with closing(connect(file, read_only=True)) as connection:
        notice_interrupts(connection)
        connection.execute("BEGIN")  # all of it is of one state of the file
        write_text(pieces_of(connection.database), output)
