"""``larqldb compile``: a vindex with its edits as model files, or as a vindex without patches."""

from __future__ import annotations

import sys
from contextlib import closing

import click

from larqldb.cli.interrupts import notice_interrupts
from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer
from larqldb.dbapi import connect

FORMATS = ("safetensors", "gguf", "vindex")
RULES = ("last_wins", "highest_confidence", "fail")
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1")


@click.command("compile", epilog=example("larqldb compile smol.vindex -o smol.gguf --quant q8_0"))
@click.argument("file")
@click.option("-o", "--output", "target", required=True, metavar="OUT", help="What to write; must not exist.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="By OUT's ending without it: .gguf, .vindex, else safetensors."
)
@click.option("--quant", type=click.Choice(TYPES), help="The type of matrices; their own without it.")
@click.option(
    "--slots", type=click.Choice(("grow", "replace")), default="grow", show_default=True,
    help="Layers grow for what was added, or the features they use least make room.",
)  # fmt: skip
@click.option("--on-conflict", "rule", type=click.Choice(RULES), help="Into a vindex: which of two patches counts.")
@click.option("--no-check", is_flag=True, help="Do not ask inserted facts again after rounding.")
@output_options
def compile_command(
    file: str, target: str, form: str | None, quant: str | None, slots: str, rule: str | None, no_check: bool,
    output: str | None,
) -> None:  # fmt: skip
    """Write a model with its edits for other programs.

    A Hugging Face directory (safetensors), or a GGUF file for llama.cpp. Without edits every tensor is the source's,
    byte for byte. Where numbers are rounded, inserted facts are asked again; a fact that would be lost keeps its
    layer's features in a finer type. Or a vindex without patches, the edits in its weights. OUT appears when it is
    whole.
    """
    from larqldb.cli.progress import status

    if form == "vindex" or (form is None and target.endswith(".vindex")):
        if quant or slots == "replace":
            raise click.UsageError(
                "--quant and --slots replace are for model files; a vindex holds all numbers as they are"
            )
        statement = "COMPILE CURRENT INTO VINDEX ?" + (f" ON CONFLICT {rule}" if rule else "")
    elif rule:
        raise click.UsageError("--on-conflict is for a vindex; the other formats hold all edits in effect")
    else:
        clauses = [f"FORMAT {form}" if form else "", f"QUANT {quant}" if quant else "", f"SLOTS {slots}"]
        statement = f"COMPILE CURRENT INTO MODEL ? {' '.join(clauses)}"
    with closing(connect(file, read_only=True)) as connection, status("Compiling"):
        notice_interrupts(connection)
        connection.reports = not no_check
        cursor = connection.execute(statement, (target,))
        rows = cursor.fetchall()
    renderer(output)([column[0] for column in cursor.description or ()], rows, sys.stdout)
