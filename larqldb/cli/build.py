"""``larqldb build``: a vindex from a Vindexfile."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer


@click.command(epilog=example("larqldb build . --stage dev -o atlas.vindex"))
@click.argument("folder", default=".", metavar="[FOLDER]")
@click.option("-o", "--output", "target", metavar="OUT", help="The vindex to write; must not exist.")
@click.option("--stage", metavar="NAME", help="Build what this stage says, too.")
@click.option("--no-cache", "afresh", is_flag=True, help="Use nothing that was built before, and keep nothing.")
@click.option("--cache-limit", "limit", type=click.FloatRange(0), metavar="GB", help="What may stay in the cache; 10.")
@click.option("--clear-cache", "clear", is_flag=True, help="Remove all that builds keep, and do nothing else.")
@output_options
def build(
    folder: str, target: str | None, stage: str | None, afresh: bool, limit: float | None, clear: bool,
    output: str | None,
) -> None:  # fmt: skip
    r"""Build a vindex from the Vindexfile in a folder.

    \b
    FROM "SmolLM2-135M-Instruct"      a model or a vindex: comes first
    RELATIONS capital, "own.tsv"      wordings and facts that edits use
    PATCH "myths.vlp"                 edits that were saved
    INSERT ("Atlantis", "capital", "Poseidon")
    DELETE ("France", "capital", "Paris")
    EXPOSE inference                  browse, inference or all
    STAGE dev                         what follows is built with --stage dev only

    Paths are looked up from the folder. The edits end up in the weights of one clean file; of two that contradict each
    other the later counts. The same inputs give the same bytes. What was built before is not built again.
    """
    from larqldb.cli.progress import progress_bar
    from larqldb.vindexfile.build import build as build_vindex
    from larqldb.vindexfile.cache import LIMIT_GB, Cache

    cache = Cache(limit_gb=LIMIT_GB if limit is None else limit)
    if clear:
        click.echo(f"removed {cache.clear():,} bytes", err=True)
        return
    if target is None:
        raise click.UsageError("name the vindex to write: -o NAME.vindex")
    with progress_bar(f"Building {Path(target).name}") as progress:
        if afresh:
            with Cache().workplace() as place:
                report = build_vindex(folder, target, stage=stage, cache=Cache(place), progress=progress)
        else:
            report = build_vindex(folder, target, stage=stage, cache=cache, progress=progress)
    rows = [*report.rows, (None, "", report.path, 0)]
    renderer(output)(("line", "statement", "result", "cached"), rows, sys.stdout)
