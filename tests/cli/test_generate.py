"""larqldb run and larqldb chat."""

from __future__ import annotations

import io
import json
import sys

import pytest

import larqldb as package
from larqldb.dbapi import Connection
from larqldb.model.chat import Chat

TEMPLATE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}assistant:"


@pytest.fixture
def chatty(tiny_vindex):
    """A tiny vindex with a chat template."""
    connection = package.connect(tiny_vindex)
    config = json.dumps({"eos_token": "<|endoftext|>", "chat_template": TEMPLATE}).encode()
    connection.execute("UPDATE files SET content = ? WHERE name = 'tokenizer_config.json'", (config,))
    connection.commit()
    connection.close()
    return tiny_vindex


def typed(monkeypatch, *lines):
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_run_writes_what_generate_gives(larqldb, tiny_vindex):
    connection = package.connect(tiny_vindex)
    expected = "".join(connection.generate("The capital", max_tokens=9))
    connection.close()
    outcome = larqldb("run", tiny_vindex, "The capital", "--max-tokens", 9)
    assert outcome.code == 0
    assert outcome.out == f"{expected}\n"


def test_run_reads_standard_input(larqldb, tiny_vindex, monkeypatch):
    direct = larqldb("run", tiny_vindex, "The capital\n", "--max-tokens", 5)
    typed(monkeypatch, "The capital")
    assert larqldb("run", tiny_vindex, "-", "--max-tokens", 5) == direct


def test_run_takes_every_setting(larqldb, tiny_vindex):
    settings = ("--temperature", 1.5, "--top-k", 40, "--top-p", 0.9, "--max-tokens", 12)
    one, same, other = (larqldb("run", tiny_vindex, "Rome", *settings, "--seed", seed).out for seed in (1, 1, 2))
    assert one == same != other
    stop = one[2:4]
    assert (
        larqldb("run", tiny_vindex, "Rome", *settings, "--seed", 1, "--stop", stop).out == one[: one.index(stop)] + "\n"
    )
    assert larqldb("run", tiny_vindex, "Rome", "--precision", "int8", "--max-tokens", 2).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "the prompt is empty"),
        (("x " * 200,), "the model reads at most 128"),
        (("x", "--temperature", "-1"), "temperature must be a number from 0 to 100"),
        (("x", "--top-p", "2"), "top_p must be"),
        (("x", "--max-tokens", "0"), "max_tokens must be a whole number from 1"),
    ],
)
def test_run_refuses_in_one_line(larqldb, tiny_vindex, arguments, message):
    outcome = larqldb("run", tiny_vindex, *arguments)
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_an_interrupt_ends_run(larqldb, tiny_vindex, monkeypatch):
    def interrupted(self, *_, **__):
        yield "some"
        raise KeyboardInterrupt

    monkeypatch.setattr(Connection, "generate", interrupted)
    outcome = larqldb("run", tiny_vindex, "x")
    assert outcome.code == 130
    assert outcome.out == "some"


def test_chat_answers_every_line(larqldb, chatty, monkeypatch):
    typed(monkeypatch, "Hello", "", "And you?")
    outcome = larqldb("chat", chatty, "--max-tokens", 4, "--system", "Be brief.")
    assert outcome.code == 0
    assert outcome.out.count("\n") >= 2


def test_an_interrupt_ends_a_reply_but_not_the_chat(larqldb, chatty, monkeypatch):
    def interrupted(self, text):
        yield text.upper()
        if text == "one":
            raise KeyboardInterrupt

    monkeypatch.setattr(Chat, "reply", interrupted)
    typed(monkeypatch, "one", "two")
    outcome = larqldb("chat", chatty)
    assert outcome.code == 0
    assert outcome.out == "ONE\nTWO\n"


def test_a_model_without_a_template(larqldb, tiny_vindex):
    outcome = larqldb("chat", tiny_vindex)
    assert outcome.code == 1
    assert outcome.err == (
        "Error: chat needs a chat template, which this vindex does not hold. "
        "This is a base model, which continues text: use larqldb run instead\n"
    )
