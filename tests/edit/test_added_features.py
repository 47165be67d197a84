"""Features that edits added, by their numbers, wherever the base's own can be named."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.errors import ProgrammingError
from tests.edit.saying import SAYS, insert, logits

FFN, LAST = 67, 4


@pytest.fixture(params=["float32", "int8"])
def edited(tiny_vindex, request):
    """Three added features in the last layer, and another in layer 3."""
    with closing(larqldb.connect(tiny_vindex, precision=request.param)) as connection:
        for entity, target in (("Atlantis", "Paris"), ("Gondor", "Rome"), ("Narnia", "Berlin")):
            insert(connection, entity, target)
        insert(connection, "Mordor", "Oslo", "AT LAYER 3")
        connection.commit()
        yield connection


def added(conn):
    return conn.execute("SELECT layer, feature FROM added_features").fetchall()


def test_ablating_one_gives_the_logits_without_it(edited):
    before = logits(edited)
    for layer, feature in added(edited):
        with edited.ablate(layer=layer, features=[feature]):
            silent = logits(edited)
        assert np.array_equal(logits(edited), before)
        edited.execute("DELETE FROM EDGES WHERE layer = ? AND feature = ?", (layer, feature))
        assert np.array_equal(logits(edited), silent)
        edited.rollback()
    with edited.ablate(layer=LAST, features=[FFN]):
        assert not np.array_equal(logits(edited), before)


def test_ablating_all_of_them_gives_the_bases_logits(edited):
    base = edited.session.base_runner.logits(edited.session.tokenizer.encode(SAYS))
    in_last = [feature for layer, feature in added(edited) if layer == LAST]
    in_third = [feature for layer, feature in added(edited) if layer == 3]
    with edited.ablate(layer=LAST, features=in_last), edited.ablate(layer=3, features=in_third):
        assert np.array_equal(logits(edited), base)


def test_they_are_ablated_beside_the_bases_own(conn):
    insert(conn)
    with conn.ablate(layer=LAST, features=[3]), conn.ablate(layer=LAST, features=[FFN]):
        one_by_one = logits(conn)
    with conn.ablate(layer=LAST, features=[FFN, 3]):
        assert np.array_equal(logits(conn), one_by_one)
    conn.execute("DELETE FROM EDGES WHERE entity = 'Atlantis'")
    with conn.ablate(layer=LAST, features=[3]):
        assert np.array_equal(logits(conn), one_by_one)


def test_statements_show_the_ablated_one_as_silent(conn):
    insert(conn)
    shown = conn.execute("SELECT contribution FROM explain_infer(?, 100, 4, 4) WHERE feature = 67", (SAYS,))
    assert shown.fetchone()[0] > 0
    with conn.ablate(layer=LAST, features=[FFN]):
        for _ in range(2):
            shown = conn.execute("SELECT contribution FROM explain_infer(?, 100, 4, 4) WHERE feature = 67", (SAYS,))
            assert shown.fetchone() == (0,)
        insert(conn, "Gondor", "Rome")  # a second one beside it
        shown = conn.execute(
            "SELECT feature, contribution FROM explain_infer(?, 100, 4, 4) WHERE feature > 66", (SAYS,)
        )
        contributions = dict(shown)
        assert contributions[FFN] == 0 < contributions[FFN + 1]


def test_capture_has_them_in_the_columns_of_their_numbers(conn):
    plain = conn.capture(SAYS, what="activations")
    insert(conn)
    insert(conn, "Gondor", "Rome")
    conn.execute("DELETE FROM EDGES WHERE entity = 'Atlantis'")
    numbers = [number for _, number in added(conn)]
    number = numbers[0]
    assert FFN not in numbers
    seen = conn.capture(SAYS, what="activations")
    assert seen.shape == (*plain.shape[:2], numbers[-1] + 1)
    assert np.array_equal(seen[:, :, :FFN], plain)
    row = "SELECT activation FROM explain_infer(?, 100, 4, 4) WHERE feature = ?"
    assert conn.execute(row, (SAYS, number)).fetchone()[0] == pytest.approx(float(seen[LAST, -1, number]))
    assert (seen[:LAST, :, FFN:] == 0).all()
    assert conn.capture(SAYS, 2, "activations").shape[-1] == FFN
    assert (seen[:, :, FFN] == 0).all()
    with conn.ablate(layer=LAST, features=numbers):
        silent = conn.capture(SAYS, what="activations")
    assert silent.shape == seen.shape
    assert (silent[:, :, FFN:] == 0).all()


def test_patching_them_puts_their_activations_there(conn):
    insert(conn)
    insert(conn, "Gondor", "Rome")
    other = "The capital of Gondor is"
    plain = logits(conn)
    kept = conn.patch(SAYS, SAYS, LAST, what="activations", features=[3, FFN + 1])
    assert np.abs(kept.logits - plain).max() < 1e-5
    for features in ([FFN], range(FFN), None):
        source, target = (conn.capture(prompt, LAST, "activations")[0, -1] for prompt in (other, SAYS))
        chosen = list(range(len(source)) if features is None else features)
        last = conn.capture(SAYS, LAST, "residual")[0, -1]
        moved = last + (source - target)[chosen] @ conn.session.features("down", LAST)[chosen]
        patched = conn.patch(other, SAYS, LAST, what="activations", features=features)
        assert np.abs(patched.logits - conn.session.runner.head(moved[None])[0]).max() < 2e-3
    with conn.ablate(layer=LAST, features=[FFN]):
        silent = logits(conn)
        assert np.array_equal(conn.patch(other, SAYS, LAST, what="activations", features=[FFN]).logits, silent)


def test_numbers_that_no_feature_has_are_refused(conn):
    insert(conn)
    for call in (
        lambda: conn.ablate(layer=LAST, features=[FFN + 1]),
        lambda: conn.patch(SAYS, SAYS, LAST, what="activations", features=[FFN + 1]),
    ):
        with pytest.raises(ProgrammingError, match="no feature 68: a layer has features 0-66, layer 4 also 67"):
            call()
    with pytest.raises(ProgrammingError, match=r"no feature 67: a layer has features 0-66$"):
        conn.ablate(layer=3, features=[FFN])


def test_they_are_listed_behind_the_bases_own(conn):
    conn.execute("DELETE FROM EDGES WHERE layer = 4 AND feature = 5")
    before = conn.execute("SHOW FEATURES 4").fetchall()
    insert(conn)
    rows = conn.execute("SHOW FEATURES 4").fetchall()
    assert rows[:-1] == before
    layer, feature, token, also, relation, score, source = rows[-1]
    assert (layer, feature, token, relation, source) == (4, 67, " Paris", "capital", "insert")
    assert also.count(",") >= 8
    assert score > 0
    assert conn.execute("SHOW FEATURES 4 WHERE relation = 'capital' AND down_norm > 0").fetchall() == rows[-1:]
    assert conn.execute("SHOW FEATURES 3 WHERE feature > 66").fetchall() == []
    named = conn.execute("SELECT feature, entity, target, patch FROM added_features WHERE layer >= 4").fetchall()
    assert named == [(67, "Atlantis", "Paris", "edits")]
    assert conn.execute("SELECT count(*) FROM added_features WHERE layer < 4").fetchone() == (0,)
    conn.rollback()
    assert conn.execute("SELECT count(*) FROM added_features").fetchone() == (0,)


@pytest.mark.parametrize("statement", ["EXPLAIN INFER", "EXPLAIN WALK"])
def test_verbose_shows_their_norms(conn, statement):
    insert(conn)
    cursor = conn.execute(f'{statement} "{SAYS}" TOP 100 LAYERS 4-4 VERBOSE')
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    assert len(rows) == FFN + 1
    (made,) = (row for row in rows if row["feature"] == FFN)
    assert made["source"] == "insert"
    norms = [float(np.linalg.norm(conn.session.features(role, LAST)[FFN])) for role in ("gate", "up", "down")]
    assert [made[name] for name in ("gate_norm", "up_norm", "down_norm")] == pytest.approx(norms)
    assert all(row["down_norm"] > 0 for row in rows)
