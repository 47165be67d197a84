"""``larqldb label``: which relations features serve."""

from __future__ import annotations

import sys

import click

from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer

COLUMNS = ("source", "relations", "features", "share")


@click.command(epilog=example("larqldb label smol.vindex"))
@click.argument("file")
@output_options
def label(file: str, output: str | None) -> None:
    """Find the relations that features serve.

    From what probes showed, where chance is excluded, else from clusters of features that do alike, else from what the
    tokens of a feature have in common. Probing does the first of this at its end. Nothing is run, and what is there
    already is found again. "share" is of all features.
    """
    from contextlib import closing

    from larqldb.cli.progress import status
    from larqldb.dbapi import connect
    from larqldb.knowledge.labels import label as label_features

    with closing(connect(file)) as connection, status("Labelling") as progress:
        report = label_features(connection.session, progress, afresh=True)
    renderer(output)(COLUMNS, report.rows(), sys.stdout)
