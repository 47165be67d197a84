"""``larqldb push``: a vindex to a repository of the Hugging Face hub."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer


@click.command(epilog=example("larqldb push smol.vindex my-name/smol-vindex"))
@click.argument("file")
@click.argument("repository", metavar="ORG/NAME[/FILE]")
@click.option("--private", is_flag=True, help="Make the repository a private one, where it is made now.")
@click.option("-m", "--message", metavar="TEXT", help="What the commit says.")
@output_options
def push(file: str, repository: str, private: bool, message: str | None, output: str | None) -> None:
    """Send a vindex to the hub.

    The repository is made where there is none. What it has already, by its SHA-256, is not sent again. Needs a token:
    hf auth login, or HF_TOKEN.
    """
    from larqldb.cli.progress import progress_bar
    from larqldb.share.push import push as send

    with progress_bar(f"Pushing {Path(file).name}") as progress:
        report = send(file, repository, private=private, message=message, progress=progress)
    renderer(output)(("what", "where", "how_many", "bytes"), report.rows(), sys.stdout)
