"""trace(): sums, ranks and the words that can be followed."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.errors import BadPrompt, ProgrammingError

PROMPT = "The capital of France is"
COLUMNS = ["layer", "position", "token", "rank", "probability", "attn", "ffn", "residual", "who"]


@pytest.fixture
def conn(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        yield connection


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def real(request):
    with closing(larqldb.connect(request.getfixturevalue(f"{request.param}_vindex"), read_only=True)) as connection:
        yield connection


def test_one_row_a_layer(conn):
    cursor = conn.execute(f'TRACE "{PROMPT}" LAYERS 1-3')
    rows = cursor.fetchall()
    last = len(conn.session.tokenizer.encode(PROMPT)) - 1
    assert [column[0] for column in cursor.description] == COLUMNS
    assert [(row[0], row[1]) for row in rows] == [(1, last), (2, last), (3, last)]
    assert all(row[5] is None and row[6] is None for row in rows)
    assert {row[8] for row in rows} <= {"attention", "ffn"}


@pytest.mark.parametrize("text", [PROMPT, "def add(a, b):\n    return a +", "La capitale de l'Italie est"])
def test_the_residual_is_the_sum_of_what_was_written(real, text):
    rows = real.execute(
        "SELECT position, layer, attn, ffn, residual, embedding FROM trace(?, NULL, 1, NULL, NULL, 'all') "
        "ORDER BY position, layer",
        (text,),
    ).fetchall()
    layers, positions = real.session.network.layers, len(real.session.tokenizer.encode(text))
    table = np.array(rows).reshape(positions, layers, 6)
    written = table[:, :, 5] + np.cumsum(table[:, :, 2] + table[:, :, 3], axis=1)
    assert np.abs(written - table[:, :, 4]).max() < 1e-4


def test_the_residual_vectors_add_up(real):
    kinds = ("embedding", "attention", "ffn", "residual")
    seen = real.capture(PROMPT, what=kinds)
    total = seen["embedding"].astype(np.float64) + np.cumsum(seen["attention"] + seen["ffn"].astype(np.float64), axis=0)
    assert np.abs(total - seen["residual"]).max() <= 1e-4 * max(1, np.abs(seen["residual"]).max())


def test_after_the_last_layer_it_is_the_answer(real):
    token, rank, probability, residual = real.execute(
        "SELECT token, rank, probability, residual FROM trace(?) ORDER BY layer DESC LIMIT 1", (PROMPT,)
    ).fetchone()
    (answer,) = real.execute("SELECT token, probability FROM infer(?, 1)", (PROMPT,)).fetchall()
    assert (token, rank) == (answer[0], 1)
    assert abs(probability - answer[1]) < 1e-5
    assert abs(residual - real.session.runner.logits(real.session.tokenizer.encode(PROMPT)).max()) < 1e-3


def test_rank_and_probability_are_those_of_infer(real):
    tokens = real.execute("SELECT rank, token, probability FROM infer(?, 20)", (PROMPT,)).fetchall()
    last = real.session.network.layers - 1
    for rank, token, probability in tokens[1::6]:
        row = real.execute(
            "SELECT rank, token, probability FROM trace(?, ?, 0, ?, ?)", (PROMPT, token, last, last)
        ).fetchone()
        assert row[:2] == (rank, token)
        assert abs(row[2] - probability) < 1e-5


def test_a_word_is_followed_as_it_stands_in_the_sentence(real):
    for answer in ("Paris", " Paris"):
        row = real.execute("SELECT token, pieces FROM trace(?, ?) LIMIT 1", (PROMPT, answer)).fetchone()
        assert row == (" Paris", '[" Paris"]')
    assert real.execute("SELECT token FROM trace(?, 'Paris') LIMIT 1", (f"{PROMPT} ",)).fetchone() == ("Paris",)
    assert real.execute("SELECT token FROM trace(?, '.') LIMIT 1", (PROMPT,)).fetchone() == (".",)


def test_of_a_longer_word_the_first_token_is_followed_and_its_pieces_named(real):
    word = "Zyxwvutsrqp"
    token, pieces = real.execute("SELECT token, pieces FROM trace(?, ?) LIMIT 1", (PROMPT, word)).fetchone()
    assert token == json.loads(pieces)[0]
    assert len(json.loads(pieces)) > 1
    assert "".join(json.loads(pieces)).strip() == word


def test_positions_all_gives_every_token(conn):
    rows = conn.execute(f'TRACE "{PROMPT}" POSITIONS ALL').fetchall()
    ids = conn.session.tokenizer.encode(PROMPT)
    assert [(row[0], row[1]) for row in rows] == [(layer, i) for layer in range(5) for i in range(len(ids))]
    read = conn.execute("SELECT read FROM trace(?, NULL, 0, 0, 0, 'all')", (PROMPT,)).fetchall()
    assert "".join(text for (text,) in read) == PROMPT


def test_the_last_position_is_the_same_among_all(conn):
    last = conn.execute("SELECT * FROM trace(?, 'Paris', 1)", (PROMPT,)).fetchall()
    among = conn.execute(
        "SELECT * FROM trace(?, 'Paris', 1, NULL, NULL, 'all') WHERE position = ?", (PROMPT, last[0][1])
    ).fetchall()
    assert [row[:4] for row in among] == [row[:4] for row in last]
    assert np.allclose([row[4:8] for row in among], [row[4:8] for row in last], atol=1e-5)


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        ('TRACE ""', BadPrompt, "the prompt is empty"),
        ('TRACE "a" FOR ""', BadPrompt, "the token to follow is empty"),
        ('TRACE "a" LAYERS 3-7', ProgrammingError, "there is no layer 7"),
        ("SELECT * FROM trace('a', 5)", ProgrammingError, "a token to follow must be text, not int"),
        ("SELECT * FROM trace('a', 'b', 0, 0, 1, 'some')", ProgrammingError, "positions 'some' is not one of"),
    ],
)
def test_refusals(conn, statement, error, words):
    with pytest.raises(error, match=words):
        conn.execute(statement).fetchall()
