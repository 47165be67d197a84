"""WALK and INFER in their modes: what contributes in the real run, what the walk pulls, and what it refuses."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.errors import BadPrompt, DamagedVindex, InterfaceError, MissingPart, NotSupportedError, ProgrammingError

PROMPT = "The capital of France is"
INFER = ["rank", "token", "token_id", "probability", "mode", "kl", "rows_pulled", "row_share", "bytes_read"]


def walking(path, **options):
    return closing(larqldb.connect(path, **options))


def test_hybrid_ranks_what_contributes_in_the_walks_own_run(tiny_vindex):
    """Recomputed from the vectors in the file; with all rows the run is the whole network's, but for 8-bit blocks."""
    with walking(tiny_vindex, walk=1.0) as conn:
        hybrid = conn.execute(f'WALK "{PROMPT}" TOP 67 MODE HYBRID').fetchall()
        dense = conn.execute(f'WALK "{PROMPT}" TOP 67 MODE DENSE').fetchall()
    assert len(hybrid) == len(dense) == 5 * 67
    for layer in range(5):
        ours = {row[2]: row for row in hybrid if row[0] == layer}
        true = {row[2]: row for row in dense if row[0] == layer}
        ranked = [row[5] for row in hybrid if row[0] == layer]
        assert ranked == sorted(ranked, reverse=True)
        contributions = np.array([(ours[feature][5], true[feature][5]) for feature in range(67)])
        assert np.corrcoef(contributions.T)[0, 1] > 0.99
        assert [row[6:] for row in ours.values()] == [true[feature][6:] for feature in ours]


def test_hybrid_is_the_default_where_the_network_is_there(tiny_vindex, tiny_model, tmp_path):
    with walking(tiny_vindex) as conn:
        asked = conn.execute("SELECT * FROM walk(?, 3)", (PROMPT,)).fetchall()
        assert asked == conn.execute("SELECT * FROM walk(?, 3, 'hybrid')", (PROMPT,)).fetchall()
        assert asked != conn.execute("SELECT * FROM walk(?, 3, 'pure')", (PROMPT,)).fetchall()
    larqldb.extract(tiny_model, tmp_path / "browse.vindex", level="browse")
    with walking(tmp_path / "browse.vindex") as conn:
        asked = conn.execute("SELECT * FROM walk(?, 3)", (PROMPT,)).fetchall()
        assert asked == conn.execute("SELECT * FROM walk(?, 3, 'pure')", (PROMPT,)).fetchall()


def test_compare_gives_both_modes(tiny_vindex):
    with walking(tiny_vindex) as conn:
        rows = conn.execute(f'WALK "{PROMPT}" TOP 2 LAYERS 1-2 COMPARE').fetchall()
        assert [(row[0], row[-1], row[1]) for row in rows] == [
            (layer, mode, rank) for layer in (1, 2) for mode in ("dense", "hybrid") for rank in (1, 2)
        ]
    with walking(tiny_vindex) as conn:
        cursor = conn.execute(f'INFER "{PROMPT}" TOP 2 COMPARE')
        assert [column[0] for column in cursor.description] == INFER
        dense, _, walk, _ = cursor.fetchall()
        tokens = len(conn.session.tokenizer.encode(PROMPT))
    assert dense[4:] == ("dense", 0.0, None, None, None)
    assert walk[4] == "walk"
    assert 0 < walk[5] < 1
    assert walk[7] == pytest.approx(walk[6] / (5 * 67 * tokens))
    assert walk[8] > 0


def test_rows_per_layer(tiny_vindex):
    with walking(tiny_vindex, walk=7) as conn:
        row = conn.execute(f'INFER "{PROMPT}" TOP 1').fetchone()
        tokens = len(conn.session.tokenizer.encode(PROMPT))
        assert (
            row
            == conn.execute("SELECT rank, token, token_id, probability, mode FROM infer(?, 1)", (PROMPT,)).fetchone()
        )
        pulled, share = conn.execute("SELECT rows_pulled, row_share FROM infer(?, 1, 'walk')", (PROMPT,)).fetchone()
    assert row[4] == "walk"
    assert pulled == 7 * 5 * tokens
    assert share == pytest.approx(7 / 67)


def test_infer_is_dense_unless_the_connection_walks(tiny_vindex):
    with walking(tiny_vindex) as conn:
        dense = conn.execute(f'INFER "{PROMPT}" TOP 3').fetchall()
    with walking(tiny_vindex, walk=1.0) as conn:
        asked = conn.execute("SELECT rank, token, token_id, probability, mode FROM infer(?, 3, 'dense')", (PROMPT,))
        assert asked.fetchall() == dense
    assert {row[4] for row in dense} == {"dense"}


def test_generation_walks_too(tiny_vindex):
    with walking(tiny_vindex, walk=1.0) as conn:
        text, tokens = conn.execute(f'INFER "{PROMPT}" GENERATE 4').fetchone()
        assert (text, tokens) == conn.execute("SELECT * FROM generate(?, 4, 'walk')", (PROMPT,)).fetchone()
        assert tokens <= 4
        assert "".join(conn.generate(PROMPT, max_tokens=4)) == text
        assert conn.execute("SELECT tokens FROM generate(?, 4, 'dense')", (PROMPT,)).fetchone()[0] <= 4


@pytest.mark.parametrize("statement", ['INFER "a"', 'WALK "a" MODE HYBRID', 'INFER "a" GENERATE 1'])
def test_what_changes_the_network_is_not_walked_past(tiny_vindex, statement):
    with walking(tiny_vindex, walk=True) as conn:
        with conn.ablate(layer=2, features=[1]), pytest.raises(NotSupportedError, match="Use mode dense"):
            conn.execute(statement).fetchall()
        assert conn.execute(statement).fetchall()


def test_rows_in_the_cache_are_not_read_again(tiny_vindex):
    with walking(tiny_vindex, walk=1.0) as conn:
        reads = [conn.execute("SELECT bytes_read FROM infer(?, 1)", (PROMPT,)).fetchone()[0] for _ in range(2)]
    assert reads == [5 * 67 * 40 * 2, 0]


def test_budgets_are_measured_stored_and_used(tiny_vindex):
    with walking(tiny_vindex) as conn:
        measured = conn.session.walking.measure([PROMPT, "Mozart was born in Salzburg."], "two sentences", kl=0.2)
        stored = conn.execute("SELECT rule, text, kl, share FROM walk_measurement").fetchall()
        assert stored == [("least", "two sentences", measured.kl, measured.share)]
        assert conn.execute("SELECT layer, number FROM walk_budgets").fetchall() == list(enumerate(measured.numbers))
        assert measured.kl <= 0.2
    with walking(tiny_vindex, walk=True) as conn:
        assert conn.session.walking.choice.numbers == measured.numbers
        assert conn.execute(f'INFER "{PROMPT}" TOP 1').fetchone()[4] == "walk"
        assert conn.execute("SELECT row_share FROM infer(?, 1, 'walk')", (PROMPT,)).fetchone()[0] < 1
    with walking(tiny_vindex, walk=3) as conn:
        assert conn.session.walking.choice.rule == "top"


@pytest.mark.parametrize("walk", [0, -1, 0.0, 1.5, float("nan"), False, "hybrid"])
def test_what_walk_may_be(tiny_vindex, walk):
    with pytest.raises(InterfaceError, match="walk must be a whole number from 1"):
        larqldb.connect(tiny_vindex, walk=walk)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        ("walk('a', 0, 'hybrid')", ProgrammingError, "top must be a whole number from 1"),
        ("walk('a', 1, 'hybrid', 7)", ProgrammingError, "there is no layer 7: this vindex holds layers 0-4"),
        ("walk('a', 1, 'hasty')", ProgrammingError, "mode 'hasty' is not one of hybrid, pure, dense"),
        ("walk('', 1, 'hybrid')", BadPrompt, "empty|no tokens"),
        ("infer('a', 0, 'walk')", ProgrammingError, "top must be a whole number from 1"),
        ("infer('a', 1, 'pure')", ProgrammingError, "mode 'pure' is not one of dense, walk"),
        ("infer('', 1, 'walk')", BadPrompt, "empty|no tokens"),
    ],
)
def test_refusals(tiny_vindex, call, kind, message):
    with walking(tiny_vindex) as conn, pytest.raises(kind, match=message):
        conn.execute(f"SELECT * FROM {call}").fetchall()


@pytest.mark.parametrize("options", [{"level": "browse"}, {"layers": (1, 3)}])
@pytest.mark.parametrize("call", ["walk('a', 1, 'hybrid')", "infer('a', 1, 'walk')"])
def test_a_vindex_without_the_whole_network(tiny_model, tmp_path, options, call):
    larqldb.extract(tiny_model, tmp_path / "part.vindex", **options)
    with walking(tmp_path / "part.vindex") as conn, pytest.raises(MissingPart, match="larqldb extract"):
        conn.execute(f"SELECT * FROM {call}").fetchall()


@pytest.mark.parametrize("role", ["gate", "up"])
def test_a_cut_row_is_named(tiny_vindex, role):
    with walking(tiny_vindex, walk=1.0) as conn:
        conn.execute("SELECT * FROM infer('a', 1)").fetchall()  # what stays in memory is there before the damage
        conn.execute(f"UPDATE feature_vectors SET {role} = substr({role}, 1, 7) WHERE layer = 3 AND feature = 9")
        with pytest.raises(DamagedVindex, match=f"{role} of layer 3 feature 9 is not 80 bytes"):
            conn.execute("SELECT * FROM walk('a', 67, 'hybrid')").fetchall()


def test_a_cut_row_that_is_pulled_is_named(tiny_vindex):
    with walking(tiny_vindex, walk=1.0) as conn:
        conn.execute("UPDATE feature_vectors SET down = substr(down, 1, 7) WHERE layer = 3 AND feature = 9")
        with pytest.raises(DamagedVindex, match="down of layer 3 feature 9 is not 80 bytes"):
            conn.execute("SELECT * FROM infer('a', 1)").fetchall()


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_the_top_20_are_among_the_100_that_contribute_most(name, request):
    with closing(larqldb.connect(request.getfixturevalue(f"{name}_vindex"), read_only=True)) as conn:
        for prompt in (PROMPT, "def main():\n    print("):
            found = conn.execute("SELECT layer, feature FROM walk(?, 20)", (prompt,)).fetchall()
            true = set(conn.execute("SELECT layer, feature FROM walk(?, 100, 'dense')", (prompt,)).fetchall())
            assert len(found) == 20 * conn.session.network.layers
            assert set(found) <= true
