"""COMPILE … INTO VINDEX: one clean file that says what the edited one says, and knows what it knows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.compile.carried import AS_THEY_ARE, IN_PART
from larqldb.errors import BadPatch, CannotCompile, MissingPart, OutputExists, OutputFailed
from larqldb.knowledge.live import ask_entity
from larqldb.storage import edits
from larqldb.storage.checksums import verify
from larqldb.storage.database import open_database
from larqldb.storage.edits import Operation
from tests.tiny import write_tiny

IDS = [1, 2, 3, 9, 20]
FACTS = {"France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Norway": "Oslo"}
TEMPLATES = ["The capital of {entity} is", "{entity} is ruled from", "x\n{entity}:"]


def vectors(network, seed):
    rng = np.random.default_rng(seed)
    gate, up, down = (rng.standard_normal(network.hidden).astype(np.float32) for _ in range(3))
    return {"gate": gate, "up": up if network.gated else None, "down": down}


def insert(connection, patch, target="Paris", *, entity="Atlantis", layer=3, seed=0, count=1, **changes):
    """A fact of random features, in a patch of its name."""
    db, network = connection.database, connection.session.network
    if edits.find_patch(db, patch) is None:
        edits.add_patch(db, patch, connection.session.model["fingerprint"])
    plain = {"entity": entity, "relation": "capital", "target": target, "probability": 0.5, **changes}
    group = [
        Operation(
            "insert", layer=layer, feature=edits.next_feature(db, layer, network.ffn) + i, **plain,
            **vectors(network, seed + i),
        )
        for i in range(count)
    ]  # fmt: skip
    edits.write(db, patch, group)
    edits.show(db)


def remove(connection, patch, layer, feature):
    if edits.find_patch(connection.database, patch) is None:
        edits.add_patch(connection.database, patch, connection.session.model["fingerprint"])
    edits.write(connection.database, patch, [Operation("delete", layer=layer, feature=feature)])
    edits.show(connection.database)


def logits(connection):
    return connection.session.runner.all_logits(IDS)


def compiled(connection, path, clause=""):
    """The rows of COMPILE, by what they say."""
    return connection.execute(f'COMPILE CURRENT INTO VINDEX "{path}" {clause}').fetchall()


@pytest.fixture
def opened(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        yield connection


def clean(path):
    return closing(larqldb.connect(path, read_only=True))


def problems(path):
    with closing(open_database(path, read_only=True)) as db:
        return list(verify(db))


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gemma3", "gemma2", "llama_biases", "qwen3"])
def test_the_clean_file_says_what_the_edited_one_says(family, tmp_path):
    larqldb.extract(write_tiny(tmp_path / "model", family=family), tmp_path / "edited.vindex")
    with closing(larqldb.connect(tmp_path / "edited.vindex")) as connection:
        insert(connection, "myths", count=3)
        insert(connection, "myths", "Rome", entity="Narnia", layer=1, seed=9)
        remove(connection, "myths", 2, 7)
        expected, base = logits(connection), connection.session.base_runner.all_logits(IDS)
        rows = compiled(connection, tmp_path / "clean.vindex")
        connection.execute(f'COMPILE CURRENT INTO MODEL "{tmp_path / "compiled"}"')
        fingerprint = connection.session.model["fingerprint"]
    assert not np.allclose(base, expected, atol=1e-2)
    assert rows[0][:3] == ("vindex", str(tmp_path / "clean.vindex"), 4)
    assert [row[1] for row in rows if row[0] == "fact"] == ["Atlantis capital Paris", "Narnia capital Rome"]
    with clean(tmp_path / "clean.vindex") as connection:
        assert np.abs(logits(connection) - expected).max() < 1e-4
        assert connection.execute("SHOW PATCHES").fetchall() == []
        model = connection.session.model
        assert model["compiled_from"] == fingerprint != model["fingerprint"]
        assert json.loads(model["compiled_patches"]) == ["myths"]
        sizes = connection.execute("SELECT count(*) FROM features GROUP BY layer").fetchall()
        assert sizes == [(model["ffn_size"],)] * 5 == [(96,)] * 5
    assert problems(tmp_path / "clean.vindex") == []
    larqldb.extract(tmp_path / "compiled", tmp_path / "again.vindex")
    for query in (
        "SELECT name, dtype, shape, sha256 FROM tensors ORDER BY 1",
        "SELECT value FROM model WHERE key = 'fingerprint'",
        "SELECT layer, feature, token, score, gate_norm, up_norm, down_norm FROM features ORDER BY 1, 2",
        "SELECT * FROM feature_tokens ORDER BY 1, 2, 3",
        "SELECT * FROM feature_vectors ORDER BY 1, 2",
        "SELECT entity, target, layer, feature, score FROM edges WHERE source = 'static' ORDER BY 3, 4",
    ):
        with clean(tmp_path / "clean.vindex") as one, clean(tmp_path / "again.vindex") as other:
            assert one.execute(query).fetchall() == other.execute(query).fetchall(), query


def test_without_edits_nothing_changes(opened, tmp_path):
    compiled(opened, tmp_path / "clean.vindex")
    with clean(tmp_path / "clean.vindex") as connection:
        assert np.array_equal(logits(connection), logits(opened))
        for table in (
            "features",
            "feature_tokens",
            "feature_vectors",
            "edges",
            "entities",
            "layers",
            "tensors",
            "files",
        ):
            query = f"SELECT * FROM {table}"
            assert set(connection.execute(query).fetchall()) == set(opened.execute(query).fetchall()), table
        assert connection.session.model == opened.session.model


def test_the_same_bytes_again(opened, tmp_path):
    insert(opened, "myths")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        compiled(opened, tmp_path / name / "clean.vindex")
    assert (tmp_path / "one" / "clean.vindex").read_bytes() == (tmp_path / "two" / "clean.vindex").read_bytes()


def test_a_removed_feature_leaves_its_slot_to_an_added_one(opened, tmp_path):
    insert(opened, "myths", layer=2)
    remove(opened, "myths", 2, 7)
    expected = logits(opened)
    compiled(opened, tmp_path / "clean.vindex")
    with clean(tmp_path / "clean.vindex") as connection:
        assert connection.session.model["ffn_size"] == opened.session.model["ffn_size"]
        assert np.abs(logits(connection) - expected).max() < 1e-4
        row = connection.execute("SELECT layer, feature, target, confidence FROM edges WHERE source = 'compiled'")
        assert row.fetchall() == [(2, 7, "Paris", 0.5)]
        labels = connection.execute("SELECT relation, label_source FROM features WHERE (layer, feature) = (2, 7)")
        assert labels.fetchall() == [("capital", "compiled")]


def test_a_clean_file_is_edited_and_compiled_like_any_other(opened, tmp_path):
    insert(opened, "myths")
    compiled(opened, tmp_path / "once.vindex")
    with closing(larqldb.connect(tmp_path / "once.vindex")) as connection:
        insert(connection, "more", "Rome", entity="Narnia", seed=5)
        expected = logits(connection)
        compiled(connection, tmp_path / "twice.vindex")
    with clean(tmp_path / "twice.vindex") as connection:
        assert np.abs(logits(connection) - expected).max() < 1e-4
        found = connection.execute("SELECT entity FROM edges WHERE source = 'compiled' ORDER BY 1").fetchall()
        assert found == [("Atlantis",), ("Narnia",)]


# What the vindex knows


@pytest.fixture
def probed(tiny_vindex):
    larqldb.probe(tiny_vindex, relation="capital", templates=TEMPLATES, facts=FACTS)
    with closing(larqldb.connect(tiny_vindex)) as connection:
        yield connection


def asked(connection):
    query = "SELECT entity, template, answer FROM probes ORDER BY 1, 2"
    return connection.execute(query).fetchall()


def test_what_was_asked_and_found_comes_along(probed, tmp_path):
    compiled(probed, tmp_path / "clean.vindex")
    with clean(tmp_path / "clean.vindex") as connection:
        assert asked(connection) == asked(probed) != []
        for query in (
            "SELECT entity, relation, target, confidence, source FROM edges WHERE source = 'probe' ORDER BY 1, 2, 3",
            "SELECT * FROM facts ORDER BY 1, 2, 3",
            "SELECT * FROM relation_templates ORDER BY 1, 2",
            "SELECT * FROM calibration ORDER BY 1",
            "SELECT * FROM relation_domains ORDER BY 1",
            "SELECT * FROM feature_relations ORDER BY 1, 2, 3, 4",
            "SELECT * FROM relations ORDER BY 1",
            "SELECT layer, band, labelled FROM layers ORDER BY 1",
            "SELECT entity, edges, confidence FROM entities ORDER BY 1",
            "SELECT e.entity, e.target, v.rank, v.layer, v.number, v.contribution FROM edge_evidence AS v "
            "JOIN edge_records AS e USING (edge_id) ORDER BY 1, 2, 3",
        ):
            assert connection.execute(query).fetchall() == probed.execute(query).fetchall(), query
    assert problems(tmp_path / "clean.vindex") == []


def test_what_an_edit_is_about_is_asked_again(probed, tmp_path):
    insert(probed, "myths", "Berlin", entity="France", seed=3, count=2)
    before = asked(probed)
    rows = compiled(probed, tmp_path / "clean.vindex")
    assert rows[0][-1].endswith("asked again: France capital")
    with closing(larqldb.connect(tmp_path / "clean.vindex")) as connection:
        after = asked(connection)
        assert [row for row in after if row[0] != "France"] == [row for row in before if row[0] != "France"]
        targets = connection.execute("SELECT target FROM edges WHERE entity = 'France' AND source = 'compiled'")
        assert targets.fetchall() == [("Berlin",)]
        (found,) = ask_entity(connection.session, "France", ["capital"], least=0, wordings=99)
        expected = {template: answer.text for template, answer in found.answers.items()}
        assert {row[1]: row[2] for row in after if row[0] == "France"} == expected
        assert {row[1]: row[2] for row in before if row[0] == "France"} != expected


def test_what_rested_on_a_removed_feature_is_asked_again(probed, tmp_path):
    query = (
        "SELECT e.entity, v.layer, v.number FROM edge_evidence AS v JOIN edge_records AS e USING (edge_id) "
        "WHERE v.kind = 'feature' ORDER BY v.rank LIMIT 1"
    )
    entity, layer, feature = probed.execute(query).fetchone()
    remove(probed, "less", layer, feature)
    rows = compiled(probed, tmp_path / "clean.vindex")
    assert f"{entity} capital" in rows[0][-1]
    with clean(tmp_path / "clean.vindex") as connection:
        used = connection.execute(
            "SELECT count(*) FROM edge_evidence WHERE kind = 'feature' AND (layer, number) = (?, ?)", (layer, feature)
        )
        assert used.fetchone() == (0,)


def test_edges_that_an_edit_deleted_are_gone(probed, tmp_path):
    place = probed.execute("SELECT layer, feature FROM edges WHERE source = 'static' LIMIT 1").fetchone()
    remove(probed, "less", *place)
    compiled(probed, tmp_path / "clean.vindex")
    with clean(tmp_path / "clean.vindex") as connection:
        query = "SELECT count(*) FROM edges WHERE source = 'static'"
        assert connection.execute(query).fetchone() == probed.execute(query).fetchone()
        there = connection.execute("SELECT count(*) FROM edges WHERE (layer, feature) = (?, ?)", place)
        assert there.fetchone() == (0,)


def test_every_table_is_thought_of(tiny_vindex):
    """A new table is carried, or written otherwise: whoever adds one decides."""
    written = {"files", "tokens", "feature_vectors", "feature_tokens", "tensor_chunks", "migrations", "seal"}
    of_edits = {"patches", "patch_ops", "edit_state", "edit_background", "hidden_edges"}
    with closing(open_database(tiny_vindex)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    there = {name for name in names if not name.startswith("sqlite_")}
    assert there == written | of_edits | set(AS_THEY_ARE) | set(IN_PART)


# Conflicts


def test_two_targets_of_two_patches(opened, tmp_path):
    insert(opened, "first", "Paris", confidence=0.9)
    only_first = logits(opened)
    insert(opened, "second", "Rome", seed=7, confidence=0.2)
    both = logits(opened)
    edits.deactivate(opened.database, "first")
    only_second = logits(opened)
    edits.activate(opened.database, "first")
    opened.database.execute("UPDATE patches SET position = 99 WHERE patch = 'second'")

    def outcome(name, clause):
        rows = compiled(opened, tmp_path / f"{name}.vindex", clause)
        with clean(tmp_path / f"{name}.vindex") as connection:
            found = connection.execute("SELECT target FROM edges WHERE source = 'compiled' ORDER BY 1").fetchall()
            said = [row[1] for row in rows if row[0] == "conflict"]
            return logits(connection), [target for (target,) in found], said

    last, targets, said = outcome("last", "ON CONFLICT LAST_WINS")
    assert np.abs(last - only_second).max() < 1e-4
    assert (targets, said) == (
        ["Rome"], ["Atlantis capital Rome (patch second) counts, Atlantis capital Paris (patch first) does not"],
    )  # fmt: skip
    surest, targets, _ = outcome("surest", "ON CONFLICT HIGHEST_CONFIDENCE")
    assert np.abs(surest - only_first).max() < 1e-4
    assert targets == ["Paris"]
    neither, targets, said = outcome("neither", "")
    assert np.abs(neither - both).max() < 1e-4
    assert targets == ["Paris", "Rome"]
    assert said == ["Atlantis capital Paris (patch first) and Atlantis capital Rome (patch second) both count"]
    with pytest.raises(CannotCompile, match=r"Rome \(patch second\) cannot .* contradicts Atlantis capital Paris"):
        compiled(opened, tmp_path / "fail.vindex", "ON CONFLICT FAIL")
    assert not (tmp_path / "fail.vindex").exists()


@pytest.mark.parametrize(
    ("others", "count"),
    [
        ([("second", {"target": "Paris"})], 0),  # the same target
        ([("second", {"target": "Rome", "entity": "Narnia"})], 0),  # of another entity
        ([("second", {"target": "Rome", "relation": "language"})], 0),
        ([("first", {"target": "Rome"})], 0),  # one patch may hold several targets of a relation
        ([("second", {"target": "Rome"}), ("third", {"target": "Rome", "seed": 8})], 1),
        ([("second", {"target": "Rome"}), ("third", {"target": "Oslo", "seed": 8})], 2),
    ],
)
def test_what_conflicts(opened, tmp_path, others, count):
    insert(opened, "first")
    for patch, changes in others:
        insert(opened, patch, **{"seed": 4, **changes})
    rows = compiled(opened, tmp_path / "clean.vindex", "ON CONFLICT LAST_WINS")
    assert sum(row[0] == "conflict" for row in rows) == count
    if not count:
        compiled(opened, tmp_path / "fail.vindex", "ON CONFLICT FAIL")


def test_of_equals_the_later_counts(opened, tmp_path):
    insert(opened, "first", "Paris", confidence=0.5)
    insert(opened, "second", "Rome", seed=5, confidence=0.5)
    rows = compiled(opened, tmp_path / "clean.vindex", "ON CONFLICT HIGHEST_CONFIDENCE")
    assert [row[1] for row in rows if row[0] == "fact"] == ["Atlantis capital Rome"]


def test_a_fact_that_another_patch_deletes(opened, tmp_path):
    insert(opened, "first")
    edits.add_patch(opened.database, "second", opened.session.model["fingerprint"])
    gone = Operation(
        "delete", layer=3, feature=200, entity="Atlantis", relation="capital", target="Paris",
        **vectors(opened.session.network, 11),
    )  # fmt: skip
    edits.write(opened.database, "second", [gone])
    with pytest.raises(CannotCompile, match="contradicts"):
        compiled(opened, tmp_path / "fail.vindex", "ON CONFLICT FAIL")
    rows = compiled(opened, tmp_path / "clean.vindex", "ON CONFLICT LAST_WINS")
    assert [row[0] for row in rows] == ["vindex", "conflict"]


def replace_feature(connection, patch, seed, feature=5):
    remove(connection, patch, 2, feature)
    insert(connection, patch, "x", entity=f"feature {feature}", relation="associates", layer=2, seed=seed)


def test_the_same_feature_changed_in_two_ways(opened, tmp_path):
    replace_feature(opened, "first", 1)
    only_first = logits(opened)
    replace_feature(opened, "second", 2)
    with pytest.raises(CannotCompile, match="feature 5"):
        compiled(opened, tmp_path / "fail.vindex", "ON CONFLICT FAIL")
    edits.deactivate(opened.database, "first")
    only_second = logits(opened)
    edits.activate(opened.database, "first")
    rows = compiled(opened, tmp_path / "clean.vindex", "ON CONFLICT LAST_WINS")
    assert sum(row[0] == "conflict" for row in rows) == 1
    with clean(tmp_path / "clean.vindex") as connection:
        assert np.abs(logits(connection) - only_first).max() < 1e-4
        assert not np.allclose(logits(connection), only_second, atol=1e-3)


def test_the_same_feature_changed_alike_or_taken_away_by_both(opened, tmp_path):
    remove(opened, "first", 1, 4)
    remove(opened, "second", 1, 4)
    compiled(opened, tmp_path / "ok.vindex", "ON CONFLICT FAIL")
    replace_feature(opened, "third", 1)
    remove(opened, "fourth", 2, 5)
    with pytest.raises(CannotCompile, match="contradicts"):
        compiled(opened, tmp_path / "fail.vindex", "ON CONFLICT FAIL")


# What cannot be compiled


def test_rows_that_are_looked_up_have_no_place(opened, tmp_path):
    edits.add_patch(opened.database, "rows", opened.session.model["fingerprint"])
    made = {**vectors(opened.session.network, 0), "up": None}
    row = Operation(
        "insert_knn", layer=4, entity="Atlantis", relation="capital", target="Paris", least_cosine=0.9, **made
    )
    edits.write(opened.database, "rows", [row])
    with pytest.raises(CannotCompile, match="COMPACT MINOR"):
        compiled(opened, tmp_path / "clean.vindex")
    assert not list(tmp_path.glob("*clean*"))


def test_a_lower_level(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "low.vindex", level="inference")
    with clean(tmp_path / "low.vindex") as connection, pytest.raises(MissingPart, match="--level all"):
        compiled(connection, tmp_path / "clean.vindex")


def test_a_patch_of_another_base(opened, tmp_path):
    insert(opened, "myths")
    opened.execute("UPDATE patches SET base_fingerprint = 'x'")
    with pytest.raises(BadPatch, match="another model"):
        compiled(opened, tmp_path / "clean.vindex")
    assert not list(tmp_path.glob("*clean*"))


def test_an_output_that_exists_and_a_disk_that_is_full(opened, tmp_path, monkeypatch):
    (tmp_path / "there.vindex").write_text("mine")
    with pytest.raises(OutputExists):
        compiled(opened, tmp_path / "there.vindex")
    assert (tmp_path / "there.vindex").read_text() == "mine"

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("larqldb.compile.vindex.carry", fail)
    with pytest.raises(OutputFailed, match="No space left"):
        compiled(opened, tmp_path / "clean.vindex")
    assert not list(tmp_path.glob("*clean*"))


def test_another_file_and_an_open_transaction(opened, tiny_extracted, tmp_path):
    shutil.copy(tiny_extracted, tmp_path / "other.vindex")
    insert(opened, "myths")
    opened.commit()
    opened.execute("BEGIN")
    insert(opened, "myths", "Rome", entity="Narnia", seed=3)
    expected = logits(opened)
    compiled(opened, tmp_path / "clean.vindex")
    opened.execute(f"COMPILE '{tmp_path / 'other.vindex'}' INTO VINDEX '{tmp_path / 'plain.vindex'}'")
    assert opened.in_transaction
    with clean(tmp_path / "clean.vindex") as connection:
        assert np.abs(logits(connection) - expected).max() < 1e-4
    with clean(tmp_path / "plain.vindex") as connection:
        assert np.array_equal(logits(connection), opened.session.base_runner.all_logits(IDS))


def test_plain_sqlite_reads_it(opened, tmp_path):
    insert(opened, "myths")
    compiled(opened, tmp_path / "clean.vindex")
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]);"
        "print(db.execute(\"SELECT object FROM model_graph WHERE subject = 'Atlantis'\").fetchall())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "clean.vindex")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[('Paris',)]\n"


def test_the_command(opened, tmp_path):
    from click.testing import CliRunner

    from larqldb.cli.compile import compile_command

    def run(*arguments):
        return CliRunner().invoke(compile_command, [opened.path, *map(str, arguments)])

    insert(opened, "first", "Paris")
    insert(opened, "second", "Rome", seed=4)
    opened.commit()
    done = run("-o", tmp_path / "clean.vindex", "--on-conflict", "last_wins", "--json")
    assert done.exit_code == 0
    assert [row["what"] for row in json.loads(done.output)] == ["vindex", "fact", "conflict"]
    assert run("-o", tmp_path / "other", "--format", "vindex").exit_code == 0
    assert "for model files" in run("-o", tmp_path / "no.vindex", "--quant", "f16").output
    assert "is for a vindex" in run("-o", tmp_path / "no.gguf", "--on-conflict", "fail").output
    assert not list(tmp_path.glob("no.*"))
