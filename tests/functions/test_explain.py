"""explain_infer(), attention() and attention_heads(): on the tiny model, and the sums on both real ones."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.errors import BadPrompt, MissingPart, ProgrammingError

PROMPT = "The capital of France is"
WALK = ["layer", "rank", "feature", "gate", "activation", "contribution", "token", "also", "relation"]


@pytest.fixture
def conn(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        yield connection


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def real(request):
    with closing(larqldb.connect(request.getfixturevalue(f"{request.param}_vindex"), read_only=True)) as connection:
        yield connection


def one(connection, sql, *values):
    (row,) = connection.execute(sql, values).fetchall()
    return row


def test_the_statement_has_the_columns_of_walk(conn):
    cursor = conn.execute(f'EXPLAIN INFER "{PROMPT}" TOP 4 LAYERS 1-3')
    rows = cursor.fetchall()
    assert [column[0] for column in cursor.description] == WALK
    assert [(row[0], row[1]) for row in rows] == [(layer, rank) for layer in (1, 2, 3) for rank in (1, 2, 3, 4)]
    assert all(len(json.loads(row[7])) == 9 for row in rows)


def test_contributions_are_those_of_the_rows(conn):
    """Recomputed in numpy from the vectors in the file and the layer's real input."""
    x = conn.capture(PROMPT, 2, "ffn_input")[0, -1].astype(np.float64)
    session = conn.session
    gate, up, down = (session.matrix(role, 2).astype(np.float64) for role in ("gate", "up", "down"))
    opened = gate @ x
    activations = opened / (1 + np.exp(-opened)) * (up @ x)
    expected = np.abs(activations) * np.linalg.norm(down, axis=1)
    rows = conn.execute("SELECT * FROM explain_infer(?, 67, 2, 2)", (PROMPT,)).fetchall()
    features = [row[2] for row in rows]
    assert features == np.argsort(-expected).tolist()
    assert np.allclose([row[3] for row in rows], opened[features], atol=1e-4)
    assert np.allclose([row[4] for row in rows], activations[features], atol=1e-4)
    assert np.allclose([row[5] for row in rows], expected[features], rtol=1e-4)


@pytest.mark.parametrize("answer", [None, "Berlin"])
def test_everything_sums_to_the_logit(real, answer):
    features = one(real, "SELECT sum(logit) FROM explain_infer(?, 100000, NULL, NULL, 0, ?)", PROMPT, answer)[0]
    heads = one(real, "SELECT sum(logit) FROM attention_heads(?, NULL, NULL, 'last', ?)", PROMPT, answer)[0]
    embedding, token = one(real, "SELECT embedding, token FROM trace(?, ?) WHERE layer = 0", PROMPT, answer)
    session = real.session
    logits = session.runner.logits(session.tokenizer.encode(PROMPT))
    wanted = int(logits.argmax()) if answer is None else session.tokenizer.encode(token, special=False)[0]
    assert abs(embedding + heads + features - logits[wanted]) < 1e-3


def test_each_layers_features_sum_to_what_its_ffn_adds(real):
    sql = "SELECT e.layer, sum(e.logit) FROM explain_infer(?1, 100000) AS e GROUP BY e.layer ORDER BY e.layer"
    features = real.execute(sql, (PROMPT,)).fetchall()
    ffn = real.execute("SELECT layer, ffn FROM trace(?, NULL, 1) ORDER BY layer", (PROMPT,)).fetchall()
    assert np.allclose(features, ffn, atol=1e-3)


def test_with_attention(conn):
    cursor = conn.execute(f'EXPLAIN INFER "{PROMPT}" TOP 2 WITH ATTENTION')
    names = [column[0] for column in cursor.description]
    assert names == [*WALK, "lens_token", "lens_probability", "attended_token", "attended_weight"]
    rows = cursor.fetchall()
    assert len(rows) == 10
    assert all(0 < row[-1] <= 1 and 0 < row[-3] <= 1 for row in rows)


def test_the_lens_of_the_last_layer_is_the_answer(real):
    token, probability = one(
        real, "SELECT lens_token, lens_probability FROM attention(?) ORDER BY layer DESC LIMIT 1", PROMPT
    )
    answer = one(real, "SELECT token, probability FROM infer(?, 1)", PROMPT)
    assert token == answer[0]
    assert abs(probability - answer[1]) < 1e-5


def test_attention_is_the_strongest_read_of_the_heads(conn):
    strongest = conn.execute(
        "SELECT layer, head, attended_position, weight, max(abs(logit)) FROM attention_heads(?) GROUP BY layer "
        "ORDER BY layer",
        (PROMPT,),
    ).fetchall()
    rows = conn.execute(
        "SELECT layer, head, attended_position, attended_weight, abs(logit) FROM attention(?) ORDER BY layer", (PROMPT,)
    ).fetchall()
    assert rows == strongest


def test_a_heads_weights_sum_to_one_at_every_position(conn):
    rows = conn.execute(
        "SELECT sum(weight) FROM attention_heads(?, NULL, NULL, 'all') GROUP BY layer, head, position", (PROMPT,)
    ).fetchall()
    positions = len(conn.session.tokenizer.encode(PROMPT))
    assert len(rows) == 5 * 5 * positions
    assert np.allclose(rows, 1, atol=1e-5)


def test_a_where_on_layers_narrows_the_work(conn):
    rows = conn.execute("SELECT DISTINCT layer FROM explain_infer(?) WHERE layer BETWEEN 2 AND 3", (PROMPT,)).fetchall()
    assert rows == [(2,), (3,)]


def test_relations_only(conn):
    conn.execute("UPDATE features SET relation = 'capital', label_source = 'probe' WHERE layer = 3 AND feature < 5")
    rows = conn.execute(f'EXPLAIN INFER "{PROMPT}" RELATIONS ONLY').fetchall()
    assert sorted(row[2] for row in rows) == [0, 1, 2, 3, 4]
    assert {row[0] for row in rows} == {3}


def test_joins_run_the_network_once(conn, monkeypatch):
    runs = []
    original = type(conn.session.runner)._run
    monkeypatch.setattr(
        type(conn.session.runner), "_run", lambda self, *given: runs.append(1) or original(self, *given)
    )
    conn.execute(
        "SELECT count(*) FROM explain_infer(?1) JOIN attention(?1) USING (layer) JOIN trace(?1) USING (layer)",
        (PROMPT,),
    ).fetchall()
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("sql", "error", "words"),
    [
        ("SELECT * FROM explain_infer('')", BadPrompt, "the prompt is empty"),
        ("SELECT * FROM attention(7)", ProgrammingError, "prompt must be text, not int"),
        ("SELECT * FROM explain_infer('a', 0)", ProgrammingError, "top must be a whole number from 1"),
        ("SELECT * FROM explain_infer('a', 3, 2, 9)", ProgrammingError, "there is no layer 9: .* layers 0-4"),
        ("SELECT * FROM attention_heads('a', 0, 1, 'first')", ProgrammingError, "positions 'first' is not one of"),
        ("SELECT * FROM explain_infer('a', 3, 0, 1, 0, '')", BadPrompt, "the token to follow is empty"),
        (f"SELECT * FROM explain_infer('{'a b ' * 200}')", BadPrompt, "tokens, the model reads at most 128"),
    ],
)
def test_refusals(conn, sql, error, words):
    with pytest.raises(error, match=words):
        conn.execute(sql).fetchall()


def test_a_file_at_level_browse_says_what_is_missing(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "browse.vindex", level="browse")
    with closing(larqldb.connect(tmp_path / "browse.vindex")) as connection:
        for statement in (f'EXPLAIN INFER "{PROMPT}"', f'TRACE "{PROMPT}"'):
            with pytest.raises(MissingPart, match=r"needs attention weights and .*--level inference"):
                connection.execute(statement).fetchall()
