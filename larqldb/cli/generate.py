"""``larqldb run`` and ``larqldb chat``: text as the model makes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, TypeVar

import click

from larqldb.dbapi import connect
from larqldb.functions.arguments import positive
from larqldb.functions.inference import stop_strings
from larqldb.model.quantise import PRECISIONS

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option("--max-tokens", type=int, default=256, show_default=True, help="The most tokens to make."),
    click.option("--temperature", type=float, default=0.0, show_default=True, help="0: the likeliest token always."),
    click.option("--top-k", type=int, help="Draw from so many likeliest tokens."),
    click.option("--top-p", type=float, help="Draw from the fewest tokens that have this share."),
    click.option("--seed", type=int, help="Draw the same tokens every time."),
    click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; may be given several times."),
    click.option("--precision", type=click.Choice(list(PRECISIONS)), default="float32", show_default=True),
)


def _options(command: F) -> F:
    """The options of both commands."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command(epilog='\b\nExample:\n  larqldb run smol.vindex "The capital of France is" --max-tokens 20')
@click.argument("file")
@click.argument("prompt")
@_options
def run(file: str, prompt: str, precision: str, stop: tuple[str, ...], **settings: Any) -> None:
    """Continue a text.

    The text goes to standard output as it is made; Ctrl-C ends it. PROMPT - is read from standard input.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    with closing(connect(file, read_only=True, precision=precision)) as connection:
        _show(connection.generate(text, stop=stop, **settings))


@click.command(epilog="\b\nExample:\n  larqldb chat smol.vindex --temperature 0.7")
@click.argument("file")
@click.option("--system", metavar="TEXT", help="What the model is told before the conversation.")
@_options
def chat(
    file: str,
    system: str | None,
    precision: str,
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
    stop: tuple[str, ...],
) -> None:
    """Talk to a model through its own chat template.

    One line is one message; Ctrl-C ends a reply, Ctrl-D the conversation. Models without a template are refused.
    """
    from larqldb.model.chat import Chat, ChatTemplate
    from larqldb.model.sampling import Sampling

    sampling = Sampling(temperature, top_k, top_p, seed)
    with closing(connect(file, read_only=True, precision=precision)) as connection:
        session = connection.session
        template = ChatTemplate(session.files("chat_template.jinja", "tokenizer_config.json"))
        conversation = Chat(
            session.runner,
            session.tokenizer,
            template,
            stop_ids=session.end_of_text,
            max_tokens=positive(max_tokens, "max_tokens"),
            sampling=sampling,
            stop=stop_strings(stop),
            system=system,
        )
        for message in _messages():
            try:
                _show(conversation.reply(message))
            except KeyboardInterrupt:
                click.echo()


def _messages() -> Iterator[str]:
    """The lines that are typed, or that standard input holds, but for empty ones."""
    asks = sys.stdin.isatty()
    while True:
        try:
            line = input("> " if asks else "")
        except EOFError:
            return
        if line.strip():
            yield line


def _show(pieces: Iterable[str]) -> None:
    """Text on standard output, each piece at once."""
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    click.echo()
