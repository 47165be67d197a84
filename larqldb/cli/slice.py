"""``larqldb slice``: a part of a vindex as a file of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer


@click.command("slice", epilog=example("larqldb slice smol.vindex --parts browse,ffn:20-29 -o small.vindex"))
@click.argument("file")
@click.option("--parts", required=True, metavar="PART,…", help="What the slice holds; see above.")
@click.option("-o", "--output", "target", required=True, metavar="OUT", help="The vindex to write; must not exist.")
@output_options
def slice_command(file: str, parts: str, target: str, output: str | None) -> None:
    """Write a smaller vindex.

    PARTS are some of knowledge (edges, and what probes found), features (what each promotes), gates, embeddings,
    attention, ffn and edits; browse is all but attention and ffn. gates, attention and ffn may be of some layers:
    ffn:10-20. A statement that needs a part which a slice lacks says so, and how to get it.
    """
    from larqldb.cli.progress import progress_bar
    from larqldb.compile.slices import write_slice

    with progress_bar(f"Slicing {Path(file).name}") as progress:
        report = write_slice(file, target, parts.split(","), progress=progress)
    renderer(output)(("what", "where", "how_many", "bytes"), report.rows(), sys.stdout)
