from __future__ import annotations

import json

import numpy as np
import pytest

import larqldb
from larqldb.errors import DataError, ProgrammingError
from larqldb.model.activations import ACTIVATIONS


def test_each_layer_is_ranked_by_the_size_of_its_gates(conn: larqldb.Connection) -> None:
    session = conn.session
    prompt = "The capital of France is"
    rows = conn.execute("SELECT layer, rank, feature, gate FROM walk(?, 7, 'pure')", (prompt,)).fetchall()
    last = session.embedding(session.tokenizer.encode(prompt, special=False)[-1:])[0]
    expected = []
    for layer in session.layers:
        scores = session.matrix("gate", layer).astype(np.float64) @ session.enter(last, layer).astype(np.float64)
        order = np.lexsort((np.arange(len(scores)), -np.abs(scores)))[:7]
        expected += [(layer, rank, f, pytest.approx(scores[f])) for rank, f in enumerate(order.tolist(), 1)]
    assert rows == expected


def test_activation_and_contribution_are_those_of_the_network(conn: larqldb.Connection) -> None:
    session = conn.session
    last = session.embedding(session.tokenizer.encode("Paris", special=False)[-1:])[0]
    x = session.enter(last, 3)
    for feature, gate, activation, contribution in conn.execute(
        "SELECT feature, gate, activation, contribution FROM walk('Paris', 10, 'pure') WHERE layer = 3"
    ):
        up, down = session.matrix("up", 3)[feature], session.matrix("down", 3)[feature]
        opened = float(ACTIVATIONS[session.network.activation](np.array([gate], np.float32))[0])
        assert activation == pytest.approx(opened * float(up @ x), rel=1e-4)
        assert contribution == pytest.approx(abs(activation) * float(np.linalg.norm(down)), rel=1e-4)


def test_tokens_and_relation_are_the_features_own(conn: larqldb.Connection) -> None:
    conn.execute("UPDATE features SET relation = 'capital' WHERE feature % 2 = 0")
    for layer, feature, token, also, relation in conn.execute(
        "SELECT layer, feature, token, also, relation FROM walk('Paris', 5, 'pure')"
    ).fetchall():
        texts = conn.execute(
            "SELECT text FROM feature_tokens JOIN tokens USING (token_id) "
            "WHERE layer = ? AND feature = ? ORDER BY rank",
            (layer, feature),
        ).fetchall()
        assert [token, *json.loads(also)] == [text for (text,) in texts]
        assert relation == ("capital" if feature % 2 == 0 else None)


def test_relations_only_ranks_labelled_features_alone(conn: larqldb.Connection) -> None:
    sql = "SELECT feature FROM walk('Paris', 5, 'pure', NULL, NULL, 1)"
    assert conn.execute(sql).fetchall() == []
    conn.execute("UPDATE features SET relation = 'capital' WHERE layer = 2 AND feature IN (3, 9)")
    assert sorted(conn.execute(sql).fetchall()) == [(3,), (9,)]


def test_layers_by_argument_and_by_condition(conn: larqldb.Connection) -> None:
    whole = conn.execute("SELECT * FROM walk('Paris', 3, 'pure')").fetchall()
    between = conn.execute("SELECT * FROM walk('Paris', 3, 'pure', 1, 2)").fetchall()
    assert between == conn.execute("SELECT * FROM walk('Paris', 3, 'pure') WHERE layer BETWEEN 1 AND 2").fetchall()
    assert between == [row for row in whole if row[0] in (1, 2)]
    assert conn.execute("SELECT * FROM walk('Paris', 10, 'pure') WHERE layer > 90").fetchall() == []


def test_a_count_beyond_the_layer_gives_the_layer(conn: larqldb.Connection) -> None:
    assert conn.execute("SELECT count(*), max(rank) FROM walk('Paris', 100000, 'pure')").fetchone() == (5 * 67, 67)


def test_the_last_token_decides(conn: larqldb.Connection) -> None:
    a = conn.execute("SELECT * FROM walk('The capital of France is Paris', 10, 'pure')").fetchall()
    assert a == conn.execute("SELECT * FROM walk('New York is Paris', 10, 'pure')").fetchall()
    assert a != conn.execute("SELECT * FROM walk('The capital of Paris is France', 10, 'pure')").fetchall()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("walk('')", DataError, "the prompt is empty"),
        ("walk(5)", ProgrammingError, "prompt must be text, not int"),
        ("walk('a', 0)", ProgrammingError, "top must be a whole number from 1, not 0"),
        ("walk('a', 'many')", ProgrammingError, "top must be a whole number from 1, not 'many'"),
        ("walk('a', 1, 'loud')", ProgrammingError, "mode 'loud' is not one of hybrid, pure, dense"),
        ("walk('a', 1, 'pure', 7)", ProgrammingError, "there is no layer 7: this vindex holds layers 0-4"),
    ],
)
def test_wrong_arguments_say_what_was_expected(conn: larqldb.Connection, call: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        conn.execute(f"SELECT * FROM {call}").fetchall()


def test_joined_with_features_over_all_layers(conn: larqldb.Connection) -> None:
    found = conn.execute(
        "SELECT f.token, avg(w.contribution) FROM walk('The capital of France is', 10, 'pure') AS w "
        "JOIN features AS f USING (layer, feature) GROUP BY 1"
    ).fetchall()
    again = conn.execute(
        "SELECT token, avg(contribution) FROM walk('The capital of France is', 10, 'pure') GROUP BY 1"
    ).fetchall()
    assert found == again
