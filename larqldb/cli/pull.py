"""``larqldb pull``: a vindex from a repository of the Hugging Face hub."""

from __future__ import annotations

import sys

import click

from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer


@click.command(epilog=example("larqldb pull my-name/smol-vindex -o smol.vindex"))
@click.argument("repository", metavar="ORG/NAME[@REVISION][/FILE]")
@click.option("-o", "--output", "target", metavar="OUT", help="Where to; the file's own name without it.")
@output_options
def pull(repository: str, target: str | None, output: str | None) -> None:
    """Fetch a vindex from the hub.

    It appears under its name when its checksum and its seal are right. An interrupted pull goes on where it ended; a
    file that is there already and the same is not fetched again.
    """
    from larqldb.cli.progress import progress_bar
    from larqldb.share.pull import pull as fetch

    with progress_bar(f"Pulling {repository}") as progress:
        report = fetch(repository, target, progress=progress)
    renderer(output)(("what", "where", "how_many", "bytes"), report.rows(), sys.stdout)
