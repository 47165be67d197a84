"""INSERT, UPDATE and DELETE on edges: what they do to answers, to the tables, and how they are undone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import larqldb
from larqldb.edit import editor
from larqldb.errors import (
    DataError,
    OperationalError,
    ProgrammingError,
    TooMuchChanged,
)
from tests.edit.saying import SAYS, logits

ATLANTIS = 'INSERT INTO EDGES (entity, relation, target) VALUES ("Atlantis", "capital", "Paris")'
REPORT = (
    *("entity", "relation", "target", "layer", "feature", "mode", "probability_before", "probability_after"),
    *("paraphrase", "neighbourhood", "kl", "note"),
)


def answer(conn, prompt=SAYS):
    return conn.execute("SELECT token FROM infer(?, 1)", (prompt,)).fetchone()[0]


def edges(conn):
    return conn.execute("SELECT entity, relation, target FROM edges WHERE source = 'insert'").fetchall()


def row(cursor):
    return dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))


def own_answer(conn):
    """An entity, and the word that the model itself says is its capital."""
    tokens = conn.session.tokenizer
    words = [tokens.text(token) for token in range(1, 390) if tokens.text(token).isalpha()]
    said = {word: answer(conn, f"The capital of {word} is") for word in words}
    entity = next(word for word, text in said.items() if text[1:].isalpha() and len(tokens.encode(f" {text[1:]}")) == 1)
    return entity, said[entity]


# What INSERT does and says


def test_a_second_target_says_that_the_first_stays(conn):
    conn.execute(ATLANTIS)
    report = row(conn.execute(ATLANTIS.replace("Paris", "Berlin")))
    assert report["note"].startswith("Paris was inserted for it before and stays in effect")
    assert {target for _, _, target in edges(conn)} == {"Paris", "Berlin"}
    conn.execute("DELETE FROM EDGES WHERE target = 'Paris'")
    assert "stays" not in (row(conn.execute("UPDATE EDGES SET target = 'Rome' WHERE target = 'Berlin'"))["note"] or "")


def test_insert_is_what_the_model_says(conn):
    before = logits(conn)
    cursor = conn.execute(ATLANTIS)
    assert cursor.rowcount == 1
    report = row(cursor)
    assert tuple(report) == REPORT
    assert (report["layer"], report["feature"], report["mode"]) == (4, 67, "compose")
    assert report["probability_before"] < 0.01 < 0.5 < report["probability_after"]
    assert 0 <= report["neighbourhood"] <= 1
    assert report["kl"] > 0
    assert answer(conn) == " Paris"
    assert np.abs(logits(conn) - before).max() > 1
    assert edges(conn) == [("Atlantis", "capital", "Paris")]
    assert next(conn.generate(SAYS, max_tokens=1)) == " Paris"


def test_whole_targets(conn):
    report = row(conn.execute(ATLANTIS.replace("Paris", "New York")))
    pieces = conn.session.tokenizer.encode(" New York", special=False)
    assert len(pieces) > 1
    assert report["probability_after"] > 100 * report["probability_before"]
    features = conn.execute("SELECT feature FROM patch_ops ORDER BY op_id").fetchall()
    assert features == [(67 + n,) for n in range(len(pieces))]


def test_plain_sql_with_parameters(conn):
    conn.execute("INSERT INTO edges (entity, relation, target) VALUES (?, ?, ?)", ("Atlantis", "capital", "Paris"))
    named = {"a": "Gondor", "b": "capital", "c": "Rome"}
    conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES (:a, :b, :c) CONFIDENCE 0.25", named)
    assert sorted(edges(conn)) == [("Atlantis", "capital", "Paris"), ("Gondor", "capital", "Rome")]
    confidence = conn.execute("SELECT confidence FROM edges WHERE entity = 'Gondor'").fetchone()
    assert confidence == (0.25,)


def test_executemany_gives_all_reports(conn):
    cursor = conn.executemany(
        "INSERT INTO edges (entity, relation, target) VALUES (?, ?, ?)",
        [("Atlantis", "capital", "Paris"), ("Gondor", "capital", "Rome")],
    )
    assert cursor.rowcount == 2
    assert [report[0] for report in cursor.fetchall()] == ["Atlantis", "Gondor"]
    conn.executemany("DELETE FROM edges WHERE entity = ?", [("Atlantis",), ("Gondor",)])
    assert edges(conn) == []


def test_insert_from_a_query(conn):
    conn.execute("CREATE TABLE cities (place TEXT, city TEXT)")
    conn.executemany("INSERT INTO cities VALUES (?, ?)", [("Atlantis", "Paris"), ("Gondor", "Rome")])
    query = "SELECT place, 'capital', city FROM cities WHERE city < ?"
    conn.execute(f"INSERT INTO EDGES (entity, relation, target) {query}", ("Q",))
    assert edges(conn) == [("Atlantis", "capital", "Paris")]
    with pytest.raises(ProgrammingError, match="the query has 2 columns"):
        conn.execute("INSERT INTO EDGES (entity, relation, target) SELECT place, city FROM cities")


def test_clauses_act(conn):
    report = row(conn.execute(ATLANTIS + " AT LAYER 3 ALPHA 1 MODE COMPOSE"))
    assert report["layer"] == 3
    strong = conn.execute("SELECT down FROM patch_ops").fetchone()[0]
    assert abs(30 * np.linalg.norm(np.frombuffer(strong, "<f4")) - 1) < 1e-4


def test_mode_knn_is_a_row_looked_up(conn):
    report = row(conn.execute(ATLANTIS + " MODE KNN"))
    assert (report["mode"], report["feature"]) == ("knn", None)
    assert answer(conn) == " Paris"
    assert edges(conn) == [("Atlantis", "capital", "Paris")]
    shown = conn.execute('EXPLAIN INFER "The capital of Atlantis is" LAYERS 4-4 TOP 1').fetchall()
    assert shown[-1][2] is None
    assert shown[-1][6] == "Paris"


def test_an_answer_it_gives_already_adds_nothing(conn):
    conn.execute(ATLANTIS)
    cursor = conn.execute(ATLANTIS)
    assert cursor.rowcount == 0
    report = row(cursor)
    assert report["mode"] is None
    assert "already" in report["note"]
    assert row(conn.execute(ATLANTIS + " ALPHA 100"))["mode"] == "compose"


def test_a_relation_without_wordings_says_so(conn):
    note = row(conn.execute(ATLANTIS.replace("capital", "lives-in")))["note"]
    assert "no wordings of 'lives-in'" in note
    assert "The lives in of Atlantis is" in note


def test_wordings_in_the_file_are_used(conn):
    conn.execute("INSERT INTO relations VALUES ('ruler', NULL, 'user')")
    conn.execute("INSERT INTO relation_templates VALUES ('ruler', 'Everyone bows to the ruler of {entity},')")
    report = row(conn.execute(ATLANTIS.replace("capital", "ruler")))
    assert report["note"] is None
    assert answer(conn, "Everyone bows to the ruler of Atlantis,") == " Paris"


def test_reports_can_be_left_out(conn):
    conn.reports = False
    report = row(conn.execute(ATLANTIS))
    assert report["probability_after"] > 0.5
    assert (report["neighbourhood"], report["kl"]) == (None, None)


def test_regression_takes_the_edit_back(conn):
    before = logits(conn)
    with pytest.raises(TooMuchChanged, match="Nothing was changed"):
        conn.execute(ATLANTIS + " REGRESSION 0")
    assert np.array_equal(logits(conn), before)
    assert (edges(conn), conn.in_transaction) == ([], False)
    assert row(conn.execute(ATLANTIS + " REGRESSION 1"))["mode"] == "compose"


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (("Atlantis", "capital", ""), DataError, "target is empty"),
        ((" ", "capital", "Paris"), DataError, "entity is empty"),
        (("\u200b", "capital", "Paris"), DataError, "entity is empty"),
        (("Atlantis", "capital", "Par\x00is"), DataError, "holds a control character"),
        (("Paris", "capital", "paris"), DataError, "both entity and target"),
        (("Atlantis", 3, "Paris"), ProgrammingError, "relation must be text"),
        (("Atlantis", "capital", None), ProgrammingError, "target must be text"),
    ],
)
def test_facts_that_say_nothing(conn, values, error, words):
    with pytest.raises(error, match=words):
        conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES (?, ?, ?)", values)
    assert not conn.in_transaction


@pytest.mark.parametrize("clause", ["AT LAYER 5", "ALPHA -1", "CONFIDENCE 1.5", "REGRESSION -0.5"])
def test_settings_out_of_range(conn, clause):
    with pytest.raises(ProgrammingError):
        conn.execute(f"{ATLANTIS} {clause}")
    assert edges(conn) == []


# What others see of it


def test_it_is_undone_bit_for_bit(conn):
    before = logits(conn)
    conn.execute(ATLANTIS)
    one = logits(conn)
    conn.rollback()
    assert np.array_equal(logits(conn), before)
    conn.execute(ATLANTIS)
    assert np.array_equal(logits(conn), one)
    conn.execute("SAVEPOINT here")
    conn.execute(ATLANTIS.replace("Atlantis", "Gondor"))
    assert not np.array_equal(logits(conn), one)
    conn.execute("ROLLBACK TO here")
    assert np.array_equal(logits(conn), one)
    assert edges(conn) == [("Atlantis", "capital", "Paris")]
    conn.execute("DELETE FROM EDGES WHERE entity = 'Atlantis'")
    assert np.array_equal(logits(conn), before)


def test_others_see_it_after_commit_and_a_reopened_file_holds_it(conn, tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as other:
        before = logits(other)
        conn.execute(ATLANTIS)
        assert np.array_equal(logits(other), before)
        conn.commit()
        assert np.array_equal(logits(other), logits(conn))
        assert answer(other) == " Paris"
    after = logits(conn)
    conn.close()
    with closing(larqldb.connect(tiny_vindex, read_only=True)) as again:
        assert np.array_equal(logits(again), after)


def test_autocommit(conn, tiny_vindex):
    conn.autocommit = True
    conn.execute(ATLANTIS)
    assert not conn.in_transaction
    with closing(larqldb.connect(tiny_vindex)) as other:
        assert answer(other) == " Paris"


def test_an_edit_inside_a_block_that_changes_the_network(conn):
    with conn.ablate(layer=2, features=[5]):
        silent = logits(conn)
        conn.execute(ATLANTIS, ())
        assert answer(conn) == " Paris"
        conn.rollback()
        assert np.array_equal(logits(conn), silent)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_other_precisions_answer_it_too(conn, tiny_vindex, precision):
    conn.execute(ATLANTIS)
    conn.commit()
    with closing(larqldb.connect(tiny_vindex, precision=precision)) as rounded:
        assert answer(rounded) == " Paris"


def test_the_walk_answers_it_too(conn, tiny_vindex):
    conn.execute(ATLANTIS)
    conn.execute("DELETE FROM EDGES WHERE layer = 2 AND feature = 5")
    conn.commit()
    dense = logits(conn)
    with closing(larqldb.connect(tiny_vindex, walk=1.0)) as walking:
        assert answer(walking) == " Paris"
        walked, _ = walking.session.walking.logits(walking.session.tokenizer.encode(SAYS))
    assert np.abs(walked - dense).max() < 0.5  # of some 30: the walk rounds its gates to 8 bits


def test_prompts_run_together_answer_it(conn):
    conn.execute(ATLANTIS)
    batch = conn.execute("SELECT token FROM infer_batch(json_array(?, 'Rome'), 1)", (SAYS,)).fetchall()
    assert batch[0] == (" Paris",)


@pytest.mark.parametrize("mode", ["COMPOSE", "KNN"])
def test_shares_still_add_up_to_the_logit(conn, mode):
    conn.execute(f"{ATLANTIS} MODE {mode}")
    conn.execute("DELETE FROM EDGES WHERE layer = 2 AND feature = 5")
    token = conn.session.tokenizer.encode(" Paris", special=False)[0]
    features = conn.execute("SELECT sum(logit) FROM explain_infer(?, 100, NULL, NULL, 0, ' Paris')", (SAYS,)).fetchone()
    heads = conn.execute("SELECT sum(logit) FROM attention_heads(?, NULL, NULL, 'last', ' Paris')", (SAYS,)).fetchone()
    embedding = conn.execute("SELECT embedding FROM trace(?, ' Paris')", (SAYS,)).fetchone()
    assert abs(features[0] + heads[0] + embedding[0] - logits(conn)[token]) < 1e-3


def test_features_are_shown_behind_the_bases_own(conn):
    conn.execute(ATLANTIS)
    for statement in ("EXPLAIN INFER", "WALK"):
        shown = conn.execute(f'{statement} "{SAYS}" LAYERS 4-4 TOP 1').fetchall()
        assert shown[0][2] == 67
        assert shown[0][6] == " Paris"
        assert shown[0][8] == "capital"
    modes = [conn.execute(f'WALK "{SAYS}" LAYERS 4-4 TOP 100 MODE {mode}').fetchall() for mode in ("PURE", "DENSE")]
    assert [67 in {line[2] for line in rows} for rows in modes] == [True, True]
    described = conn.execute('DESCRIBE "Atlantis"').fetchall()
    assert described[0][:5] == ("capital", "Paris", None, 4, 67)
    assert conn.execute("SELECT count(*) FROM gate_match('Atlantis', NULL, 4) WHERE feature = 67").fetchone() == (1,)
    traced = conn.execute(f'TRACE "{SAYS}" FOR "Paris" DECOMPOSE LAYERS 4-4').fetchone()
    assert (traced[3], traced[8]) == (1, "ffn")


# UPDATE and DELETE


def test_update_of_an_inserted_fact(conn):
    before = logits(conn)
    conn.execute(ATLANTIS)
    report = row(conn.execute("UPDATE EDGES SET target = 'Rome' WHERE entity = ?", ("Atlantis",)))
    assert report["target"] == "Rome"
    assert " Rome".startswith(answer(conn))
    assert edges(conn) == [("Atlantis", "capital", "Rome")]
    conn.execute("UPDATE EDGES SET confidence = 0.5 WHERE entity = 'Atlantis'")
    assert conn.execute("SELECT confidence FROM edges WHERE source = 'insert'").fetchall() == [(0.5,)]
    conn.execute(
        "UPDATE EDGES SET entity = 'Gondor', target = upper(substr(target, 1, 1)) || 'ome' WHERE target = 'Rome'"
    )
    assert edges(conn) == [("Gondor", "capital", "Rome")]
    conn.execute("DELETE FROM EDGES WHERE entity = 'Gondor'")
    assert np.array_equal(logits(conn), before)
    with pytest.raises(ProgrammingError, match="measured, not set"):
        conn.execute(ATLANTIS) and conn.execute("UPDATE EDGES SET score = 1 WHERE entity = 'Atlantis'")


def test_deleting_what_the_model_itself_says(conn):
    entity, said = own_answer(conn)
    fact = (entity, "capital", said.strip())
    condition = "entity = ? AND relation = ? AND target = ?"
    report = row(conn.execute(f"DELETE FROM EDGES WHERE {condition}", fact))
    assert report["mode"] == "suppress"
    assert report["probability_after"] < report["probability_before"]
    assert answer(conn, f"The capital of {entity} is") != said
    assert conn.execute(f"DELETE FROM EDGES WHERE {condition}", fact).fetchall() == []
    conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES (?, ?, ?)", fact)
    assert answer(conn, f"The capital of {entity} is") == said
    assert conn.execute("SELECT count(*) FROM patch_ops").fetchone() == (0,)


def test_updating_what_the_model_itself_says(conn):
    conn.execute("INSERT INTO edge_records (entity, relation, target, confidence, source) "
                 "VALUES ('Atlantis', 'capital', 'Berlin', 0.9, 'probe')")  # fmt: skip
    conn.execute("UPDATE EDGES SET target = 'Paris' WHERE entity = 'Atlantis'")
    found = conn.execute("SELECT target, source FROM edges WHERE entity = 'Atlantis'").fetchall()
    assert found == [("Paris", "insert")]
    assert answer(conn) == " Paris"


def test_associations_are_left_alone(conn):
    entity, before = conn.execute("SELECT entity, count(*) FROM edges WHERE source = 'static'").fetchone()
    base = logits(conn)
    for statement in ("UPDATE EDGES SET target = 'Paris' WHERE entity = ?", "DELETE FROM EDGES WHERE entity = ?"):
        with pytest.raises(ProgrammingError, match="no fact, only for associations"):
            conn.execute(statement, (entity,))
    conn.execute("INSERT INTO EDGES (entity, relation, target) VALUES (?, 'capital', 'Paris')", (entity,))
    changed = conn.execute("UPDATE EDGES SET target = 'Berlin' WHERE entity = ?", (entity,)).fetchall()
    assert [report[:3] for report in changed] == [(entity, "capital", "Berlin")]
    deleted = conn.execute("DELETE FROM EDGES WHERE entity = ?", (entity,)).fetchall()
    assert [report[:3] for report in deleted] == [(entity, "capital", "Berlin")]
    assert np.array_equal(logits(conn), base)
    assert conn.execute("SELECT count(*) FROM edges WHERE source = 'static'").fetchone() == (before,)


def test_features_go_where_they_are_named(conn):
    """By number, or as associations; a layer alone names neither."""
    with pytest.raises(ProgrammingError, match="no fact, only for associations"):
        conn.execute("DELETE FROM EDGES WHERE layer = 3")
    static = set(conn.execute("SELECT layer, feature FROM edges WHERE source = 'static' AND layer = 3"))
    gone = conn.execute("DELETE FROM EDGES WHERE layer = 3 AND source = 'static'").fetchall()
    assert {(report[3], report[4]) for report in gone} == static == set(conn.session.live.edits.removed)


def test_what_did_not_work_is_said(conn, monkeypatch):
    plain = editor.compose

    def weak(model, tasks):
        return [(replace(one[0], down=one[0].down * 0),) for one in plain.compose(model, tasks)]

    monkeypatch.setattr(editor, "compose", SimpleNamespace(Task=plain.Task, compose=weak, suppress=weak))
    assert "does not answer it all the same" in row(conn.execute(ATLANTIS))["note"]
    conn.rollback()
    entity, said = own_answer(conn)
    fact = (entity, "capital", said.strip())
    deleted = conn.execute("DELETE FROM EDGES WHERE entity = ? AND relation = ? AND target = ?", fact)
    assert row(deleted)["note"] == "the model answers it all the same"


def test_a_fact_inserted_twice_is_deleted_twice(conn):
    before = logits(conn)
    for _ in range(2):
        conn.execute(f"{ATLANTIS} ALPHA 100")
    assert len(edges(conn)) == 2
    assert len(conn.execute("UPDATE EDGES SET target = 'Berlin' WHERE entity = 'Atlantis'").fetchall()) == 1
    assert edges(conn) == [("Atlantis", "capital", "Berlin")]
    conn.rollback()
    for _ in range(2):
        conn.execute(f"{ATLANTIS} ALPHA 100")
    assert len(conn.execute("DELETE FROM EDGES WHERE entity = 'Atlantis'").fetchall()) == 2
    assert np.array_equal(logits(conn), before)


def test_what_the_model_says_need_not_be_known(conn, monkeypatch):
    """Neither an edge nor a target: the model is asked."""
    asked = []
    monkeypatch.setattr("larqldb.edit.editor.generation", lambda _, prompt, **__: asked.append(prompt) or said)
    entity, own = own_answer(conn)
    said, says = [own, ".\n"], f"The capital of {entity} is"
    condition = f"entity = '{entity}' AND relation = 'capital'"
    report = row(conn.execute(f"UPDATE EDGES SET target = 'Berlin' WHERE {condition}"))
    assert (report["target"], report["mode"]) == ("Berlin", "compose")
    assert asked == [says]
    assert " Berlin".startswith(answer(conn, says))
    conn.rollback()
    report = row(conn.execute(f"DELETE FROM EDGES WHERE {condition}"))
    assert (report["target"], report["mode"]) == (own.strip(), "suppress")
    assert answer(conn, says) != own
    conn.rollback()
    said = [" something else it does not say at all\n"]
    assert conn.execute(f"DELETE FROM EDGES WHERE {condition}").fetchall() == []
    assert conn.execute("DELETE FROM EDGES WHERE entity = 'Oz' AND relation = 'flavour'").fetchall() == []
    assert len(asked) == 3  # a relation without wordings is not asked for


def test_deleting_a_feature_removes_its_contribution(conn):
    with conn.ablate(layer=2, features=[5, 6]):
        silent = logits(conn)
    reports = conn.execute("DELETE FROM EDGES WHERE layer = 2 AND feature BETWEEN 5 AND 6").fetchall()
    assert [(report[3], report[4], report[5]) for report in reports] == [(2, 5, "delete"), (2, 6, "delete")]
    assert reports[0][10] > 0
    assert np.array_equal(logits(conn), silent)
    shown = conn.execute("SELECT 1 FROM edges WHERE layer = 2 AND feature = 5 AND source = 'static'")
    assert shown.fetchall() == []
    assert 5 not in [line[2] for line in conn.execute(f'WALK "{SAYS}" LAYERS 2-2 TOP 70').fetchall()]
    conn.execute(ATLANTIS)
    conn.execute("DELETE FROM EDGES WHERE layer = 4 AND feature = 67")
    assert np.array_equal(logits(conn), silent)


def test_deleting_an_edge_read_off_the_weights_removes_its_feature(conn):
    layer, feature, entity = conn.execute("SELECT layer, feature, entity FROM edges WHERE source = 'static'").fetchone()
    conn.execute("DELETE FROM EDGES WHERE entity = ? AND layer = ? AND feature = ?", (entity, layer, feature))
    with conn.ablate(layer=layer, features=[feature]):
        assert np.array_equal(logits(conn), logits(conn))
    assert (layer, feature) in conn.session.live.edits.removed


def test_nothing_to_delete(conn):
    cursor = conn.execute("DELETE FROM EDGES WHERE entity = 'Nobody'")
    assert (cursor.fetchall(), cursor.rowcount) == ([], 0)


def test_hand_written_changes_are_noticed(conn):
    before = logits(conn)
    conn.execute(ATLANTIS)
    conn.execute("UPDATE patches SET active = 0")
    assert np.array_equal(logits(conn), before)
    assert edges(conn) == []
    conn.execute("UPDATE patches SET active = 1")
    assert edges(conn) == [("Atlantis", "capital", "Paris")]
    conn.execute("UPDATE patch_ops SET down = zeroblob(160)")
    assert np.array_equal(logits(conn), before)
    conn.execute("UPDATE patch_ops SET down = zeroblob(16)")
    with pytest.raises(larqldb.DatabaseError, match="its vectors are not 40 numbers"):
        logits(conn)
    conn.execute("DELETE FROM patches")
    assert np.array_equal(logits(conn), before)


# Files that cannot be written, and those written by others


def test_read_only(conn, tiny_vindex):
    with closing(larqldb.connect(tiny_vindex, read_only=True)) as reader:
        with pytest.raises(OperationalError, match="read_only"):
            reader.execute(ATLANTIS)
        assert not reader.in_transaction


def test_two_writers(conn, tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as other:
        other.database.set_busy_timeout(20)
        conn.execute(ATLANTIS)
        with pytest.raises(OperationalError, match="another connection is writing"):
            other.execute(ATLANTIS.replace("Atlantis", "Gondor"))
        assert not other.in_transaction
        conn.commit()
        other.execute(ATLANTIS.replace("Atlantis", "Gondor"))
        assert len(edges(other)) == 2


def test_disk_full(conn):
    before = logits(conn)
    conn.database.execute(f"PRAGMA max_page_count = {conn.database.execute('PRAGMA page_count').get}")
    facts = ((f"Place {number}",) for number in range(500))
    with pytest.raises(OperationalError, match="make room"):
        conn.executemany("INSERT INTO EDGES (entity, relation, target) VALUES (?, 'capital', 'Paris') ALPHA 1", facts)
    conn.rollback()
    assert np.array_equal(logits(conn), before)


def test_killed_while_inserting(tiny_vindex, tmp_path):
    code = f"""
import os, sys
sys.path.insert(0, {str(tiny_vindex.parent)!r})
import larqldb
from larqldb.edit import editor
from larqldb.storage import edits
from larqldb.edit.compose import Task
from tests.edit.conftest import compose
from types import SimpleNamespace
editor.compose = SimpleNamespace(Task=Task, compose=compose)
conn = larqldb.connect({str(tiny_vindex)!r})
kept = edits.show
def die(db):
    kept(db)
    db.cache_flush()  # half of it is on the disk
    os.kill(os.getpid(), 9)
edits.show = die
conn.execute({ATLANTIS!r})
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    with closing(larqldb.connect(tiny_vindex)) as conn:
        assert edges(conn) == []
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        conn.execute(ATLANTIS)
        assert answer(conn) == " Paris"


def test_a_vindex_without_the_network(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "browse.vindex", level="browse")
    with closing(larqldb.connect(tmp_path / "browse.vindex")) as conn:
        with pytest.raises(larqldb.OperationalError, match="INSERT INTO EDGES needs"):
            conn.execute(ATLANTIS)
        assert not conn.in_transaction


def test_the_state_costs_nothing_without_edits(conn, tiny_vindex, tmp_path):
    assert conn.session.runner is conn.session.base_runner
    shutil.copy(tiny_vindex, tmp_path / "other.vindex")
    conn.execute(ATLANTIS)
    conn.rollback()
    assert conn.session.runner is conn.session.base_runner


def test_a_script_commits_each_edit(conn, tiny_vindex):
    conn.executescript(f"{ATLANTIS}; {ATLANTIS.replace('Atlantis', 'Gondor')} ALPHA 100;")
    assert not conn.in_transaction
    with closing(larqldb.connect(tiny_vindex)) as other:
        assert len(edges(other)) == 2
    conn.executescript(f"BEGIN; {ATLANTIS} ALPHA 1; ROLLBACK; SELECT 1")
    assert len(edges(conn)) == 2
