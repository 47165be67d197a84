from __future__ import annotations

import json
import math

import numpy as np
import pytest

import larqldb
from larqldb.errors import DataError, ProgrammingError
from larqldb.functions.products import best


def gates(conn: larqldb.Connection, layer: int, role: str = "gate") -> np.ndarray:
    return conn.session.matrix(role, layer).astype(np.float64)


def query(conn: larqldb.Connection) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(conn.session.network.hidden).astype(np.float32)


def ranked(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda feature: (-scores[feature], feature))


@pytest.mark.parametrize("role", ["gate", "down"])
@pytest.mark.parametrize("k", [1, 10, 66, 67, 5000, None])
def test_a_vector_finds_the_largest_inner_products(conn: larqldb.Connection, role: str, k: int | None) -> None:
    q = query(conn)
    found = conn.execute(f"SELECT feature, score FROM {role}_match(?, ?, 3)", (q.tobytes(), k)).fetchall()
    scores = gates(conn, 3, role) @ q.astype(np.float64)
    assert [feature for feature, _ in found] == ranked(scores)[: len(scores) if k is None else k]
    assert [score for _, score in found] == pytest.approx([scores[feature] for feature, _ in found])


def test_k_counts_per_layer_and_layers_can_be_chosen(conn: larqldb.Connection) -> None:
    q = query(conn).tobytes()
    counts = "SELECT layer, count(*) FROM gate_match(?, 4) {} GROUP BY layer"
    assert conn.execute(counts.format(""), (q,)).fetchall() == [(layer, 4) for layer in range(5)]
    assert conn.execute(counts.format("WHERE layer BETWEEN 1 AND 2"), (q,)).fetchall() == [(1, 4), (2, 4)]
    assert conn.execute("SELECT count(*) FROM gate_match(?, 4, 2) WHERE layer = 3", (q,)).fetchone() == (0,)


def test_distance_ranks_as_the_score_does(conn: larqldb.Connection) -> None:
    q = query(conn)
    largest = np.linalg.norm(gates(conn, 1), axis=1).max()
    for score, distance in conn.execute("SELECT score, distance FROM gate_match(?, NULL, 1)", (q.tobytes(),)):
        assert distance == pytest.approx(math.sqrt(float(q @ q) + largest**2 - 2 * score), rel=1e-6)


@pytest.mark.parametrize("role", ["gate", "down"])
def test_a_vector_may_be_a_blob_a_json_array_or_a_stored_vector(conn: larqldb.Connection, role: str) -> None:
    stored = conn.execute(f"SELECT {role} FROM feature_vectors WHERE layer = 2 AND feature = 5").fetchone()[0]
    plain = gates(conn, 2, role)[5].astype(np.float32)
    sql = f"SELECT feature, score FROM {role}_match(?, 3, 2)"
    found = [conn.execute(sql, (one,)).fetchall() for one in (stored, plain.tobytes(), json.dumps(plain.tolist()))]
    assert found[0] == found[1] == found[2]
    assert found[0][0] == (5, pytest.approx(float(plain @ plain)))


def test_a_text_enters_the_layer_as_its_norm_has_it(conn: larqldb.Connection) -> None:
    session = conn.session
    ids = session.tokenizer.encode(" New York", special=False)
    x = session.enter(session.embedding(ids).mean(axis=0), 2)
    as_text = conn.execute("SELECT * FROM gate_match('New York', 5, 2)").fetchall()
    assert as_text == conn.execute("SELECT * FROM gate_match(?, 5, 2)", (x.tobytes(),)).fetchall()


def test_features_that_write_towards_a_token_have_its_score(conn: larqldb.Connection) -> None:
    (token,) = conn.session.tokenizer.encode(" Paris", special=False)
    promoted = conn.execute(
        "SELECT layer, feature, score FROM feature_tokens WHERE token_id = ? ORDER BY score DESC LIMIT 5", (token,)
    ).fetchall()
    found = conn.execute("SELECT layer, feature, score FROM down_match('Paris') ORDER BY score DESC LIMIT 5").fetchall()
    assert promoted[0][:2] == found[0][:2]
    assert promoted[0][2] == pytest.approx(found[0][2], rel=1e-5)


def test_scripts_without_spaces_and_names_of_several_words_are_found(conn: larqldb.Connection) -> None:
    for text in ("東京", "Москва", "New York", "  Paris  ", "it's; DROP TABLE", "\u202eabc", "🜁", "[Paris", "[1, 'x']"):
        assert len(conn.execute("SELECT * FROM gate_match(?, 2, 0)", (text,)).fetchall()) == 2


@pytest.mark.parametrize("function", ["gate_match", "down_match"])
@pytest.mark.parametrize(
    ("given", "k", "layer", "error", "words"),
    [
        ("", 1, 0, DataError, "the query is empty"),
        ("   ", 1, 0, DataError, "the query is empty"),
        (7, 1, 0, ProgrammingError, "query must be text, not int"),
        (b"1234567", 1, 0, DataError, "a BLOB of 7 bytes; a vector of 40 float32 is 160"),
        ("[1, 2]", 1, 0, DataError, r"shape \[2\], this model's vectors are \[40\]"),
        (np.full(40, np.nan, np.float32).tobytes(), 1, 0, DataError, "not finite"),
        ("Paris", 0, 0, ProgrammingError, "k must be a whole number from 1, not 0"),
        ("Paris", -1, 0, ProgrammingError, "k must be a whole number from 1, not -1"),
        ("Paris", 1.5, 0, ProgrammingError, "k must be a whole number from 1, not 1.5"),
        ("Paris", "ten", 0, ProgrammingError, "k must be a whole number from 1, not 'ten'"),
        ("Paris", 1, 5, ProgrammingError, "there is no layer 5: this vindex holds layers 0-4"),
        ("Paris", 1, -1, ProgrammingError, "there is no layer -1"),
        ("Paris", 1, "x", ProgrammingError, "there is no layer 'x'"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    conn: larqldb.Connection, function: str, given: object, k: object, layer: object, error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        conn.execute(f"SELECT * FROM {function}(?, ?, ?)", (given, k, layer)).fetchall()


def test_a_missing_query_gives_no_rows(conn: larqldb.Connection) -> None:
    assert conn.execute("SELECT * FROM gate_match(NULL)").fetchall() == []


def test_joins_with_what_the_features_are(conn: larqldb.Connection) -> None:
    rows = conn.execute(
        "SELECT f.token, m.score FROM gate_match('Paris', 3) AS m JOIN features AS f USING (layer, feature)"
    ).fetchall()
    assert len(rows) == 15
    lateral = conn.execute(
        "SELECT w.name, m.feature FROM (SELECT 'Paris' AS name UNION ALL SELECT 'Rome') AS w "
        "JOIN gate_match(w.name, 2, 4) AS m"
    ).fetchall()
    assert [name for name, _ in lateral] == ["Paris", "Paris", "Rome", "Rome"]


def test_nearest_to_with_a_condition_never_gives_fewer_rows_than_there_are(conn: larqldb.Connection) -> None:
    even = "SELECT layer, feature, distance FROM FEATURES NEAREST TO 'Paris' AT LAYER 3 WHERE feature % 2 = 0 LIMIT 20"
    found = conn.execute(even).fetchall()
    scores = dict(conn.execute("SELECT feature, score FROM gate_match('Paris', NULL, 3)"))
    expected = sorted((f for f in scores if f % 2 == 0), key=lambda f: (-scores[f], f))[:20]
    assert [feature for _, feature, _ in found] == expected


class TestBest:
    def test_equal_rows_come_in_order_whatever_the_count(self) -> None:
        matrix = np.tile(np.random.default_rng(0).standard_normal((3, 33)).astype(np.float32), (5, 1))  # rows repeat
        q = np.random.default_rng(1).standard_normal(33).astype(np.float32)
        order = ranked(np.einsum("fh,h->f", matrix.astype(np.float64), q.astype(np.float64)))
        for count in range(1, 16):
            assert best(matrix, 100.0, q, count)[0].tolist() == order[:count]

    def test_what_float32_cannot_tell_apart_is_told_apart(self) -> None:
        matrix = np.full((64, 2048), 1, np.float32)
        matrix[:, 0] = 1e4
        matrix[:, 1] = np.random.default_rng(0).permutation(64) * np.float32(2.0**-12)
        q = np.full(2048, 1, np.float32)
        largest = float(np.linalg.norm(matrix.astype(np.float64), axis=1).max())
        rows, scores = best(matrix, largest, q, 8)
        assert rows.tolist() == np.argsort(-matrix[:, 1])[:8].tolist()
        assert (np.diff(scores) < 0).all()

    def test_absolute_and_allowed(self) -> None:
        matrix = np.array([[1], [-5], [3], [-4], [5]], np.float32)
        q = np.ones(1, np.float32)
        assert best(matrix, 5.0, q, 3, absolute=True)[0].tolist() == [1, 4, 3]
        allowed = np.array([0, 2, 3])
        assert best(matrix, 5.0, q, 2, absolute=True, allowed=allowed)[0].tolist() == [3, 2]
        assert best(matrix, 5.0, q, 9, allowed=allowed)[1].tolist() == [3, 1, -4]
        assert best(matrix, 5.0, q, 2, allowed=allowed[:0])[0].tolist() == []
