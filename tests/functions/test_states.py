"""What differs between two states: features and edges, of one model edited or of two models."""

from __future__ import annotations

import csv
import io
import json
import shutil
from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.errors import NotAVindex, ProgrammingError, SourceNotFound
from larqldb.functions.states import State, changes
from larqldb.storage import edits
from larqldb.storage.edits import Operation
from tests.tiny import write_tiny


def insert(connection, patch, target="Paris", *, entity="Atlantis", layer=3, seed=0):
    db, network = connection.database, connection.session.network
    if edits.find_patch(db, patch) is None:
        edits.add_patch(db, patch, connection.session.model["fingerprint"])
    rng = np.random.default_rng(seed)
    vectors = {name: rng.standard_normal(network.hidden).astype(np.float32) for name in ("gate", "up", "down")}
    feature = edits.next_feature(db, layer, network.ffn)
    fact = {"entity": entity, "relation": "capital", "target": target, "probability": 0.5}
    edits.write(db, patch, [Operation("insert", layer=layer, feature=feature, **fact, **vectors)])
    edits.show(db)
    return vectors


def remove(connection, patch, layer, feature):
    if edits.find_patch(connection.database, patch) is None:
        edits.add_patch(connection.database, patch, connection.session.model["fingerprint"])
    edits.write(connection.database, patch, [Operation("delete", layer=layer, feature=feature)])
    edits.show(connection.database)


@pytest.fixture
def edited(tiny_vindex):
    """Two patches: one inserts a fact, the other another and takes a feature of the model's own away."""
    with closing(larqldb.connect(tiny_vindex)) as connection:
        insert(connection, "first")
        insert(connection, "second", "Rome", entity="Gondor", seed=2)
        place = connection.execute("SELECT layer, feature FROM edges WHERE source = 'static' LIMIT 1").fetchone()
        remove(connection, "second", *place)
        yield connection


def compared(left, right, *kinds, **options):
    with closing(left), closing(right):
        return list(changes(left, right, *([kinds] if kinds else []), **options))


def test_a_file_and_its_base(edited):
    place = edited.execute("SELECT layer, feature FROM patch_ops WHERE operation = 'delete'").fetchone()
    token = edited.execute("SELECT token FROM features WHERE (layer, feature) = (?, ?)", place).fetchone()[0]
    static = edited.execute("SELECT entity, target FROM edge_records WHERE edge_id IN hidden_edges").fetchone()
    found = compared(State(edited.session, base=True), State(edited.session), static=True)
    features = [row for row in found if row.what.startswith("feature")]
    assert [(row.what, row.layer, row.feature, row.before) for row in features if row.what == "feature removed"] == [
        ("feature removed", *place, token)
    ]
    added = [(row.layer, row.feature, row.relation, row.before) for row in features if row.what == "feature added"]
    assert added == [(3, 67, "capital", None), (3, 68, "capital", None)]
    assert [(row.what, row.where, row.before, row.after) for row in found if row.what.startswith("edge")] == [
        ("edge removed", static[0], static[1], None),
        ("edge added", "Atlantis", None, "Paris"),
        ("edge added", "Gondor", None, "Rome"),
    ]
    back = compared(State(edited.session), State(edited.session, base=True), static=True)
    opposite = {"added": "removed", "removed": "added"}
    turned = [" ".join(opposite.get(word, word) for word in row.what.split()) for row in found]
    assert sorted(row.what for row in back) == sorted(turned)


def test_the_token_of_an_added_feature(edited):
    embeddings = edited.session.embeddings.astype(np.float64)
    found = compared(State(edited.session, base=True), State(edited.session), "features")
    added = [row for row in found if row.what == "feature added"]
    for row in added:
        down = edited.session.live.operations[row.layer, row.feature].down
        assert row.after == edited.session.tokenizer.text(int(np.argmax(embeddings @ down)))


def test_without_a_patch(edited):
    found = compared(State(edited.session, ["first"]), State(edited.session))
    assert [(row.what, row.where, row.after) for row in found if row.what.startswith("edge")] == [
        ("edge added", "Atlantis", "Paris")
    ]
    assert sum(row.what.startswith("feature") for row in found) == 1
    with pytest.raises(ProgrammingError, match="'third' is not in effect there; in effect are: first, second"):
        State(edited.session, ["third"])


def test_nothing_differs_from_itself(edited):
    assert compared(State(edited.session), State(edited.session), static=True) == []
    assert edited.execute("SELECT count(*) FROM patches WHERE active").fetchone() == (2,)


def test_an_edge_that_says_something_else(edited, tmp_path):
    edited.commit()
    with closing(larqldb.connect(shutil.copy(edited.path, tmp_path / "other.vindex"))) as other:
        other.database.execute("UPDATE patch_ops SET target = 'Berlin' WHERE target = 'Paris'")
        other.database.execute("UPDATE patch_ops SET probability = 0.25 WHERE target = 'Rome'")
        edits.show(other.database)
        found = compared(State(edited.session), State(other.session), "edges")
    assert [(row.what, row.where, row.before, row.after, row.change) for row in found] == [
        ("edge changed", "Atlantis", "Paris", "Berlin", 0.0),
        ("edge changed", "Gondor", "Rome", "Rome", -0.25),
    ]


def test_the_clean_file_does_what_the_edited_one_does(edited, tmp_path):
    edited.execute("DELETE FROM patch_ops WHERE operation = 'delete'")
    edited.execute(f"COMPILE CURRENT INTO VINDEX '{tmp_path / 'clean.vindex'}'")
    with closing(larqldb.connect(tmp_path / "clean.vindex")) as clean:
        assert compared(State(edited.session), State(clean.session), "features", "edges") == []
        from_base = compared(State(edited.session, base=True), State(clean.session))
    assert [(row.layer, row.feature) for row in from_base if row.what == "feature added"] == [(3, 67), (3, 68)]
    assert {row.what for row in from_base if row.what.startswith("tensor")} == {"tensor changed"}
    assert [row.where for row in from_base if row.what == "edge added"] == ["Atlantis", "Gondor"]


def test_two_models(tiny_vindex, tmp_path):
    larqldb.extract(write_tiny(tmp_path / "m", seed=7), tmp_path / "other.vindex")
    with closing(larqldb.connect(tiny_vindex)) as one, closing(larqldb.connect(tmp_path / "other.vindex")) as other:
        found = compared(State(one.session), State(other.session))
        features = [row for row in found if row.what == "feature changed"]
        assert len(features) == 5 * 67
        layer, feature, distance = features[9].layer, features[9].feature, features[9].change
        vectors = [
            np.concatenate([state.session.matrix(role, layer)[feature] for role in ("gate", "up", "down")]).astype(
                float
            )
            for state in (one, other)
        ]
        assert distance == pytest.approx(np.linalg.norm(vectors[1] - vectors[0]) / np.linalg.norm(vectors[0]), rel=1e-5)
        tensors = [row.where for row in found if row.what == "tensor changed"]
        assert "model.embed_tokens.weight" in tensors
        only = compared(State(one.session), State(other.session), "features", layer=2)
        assert {row.layer for row in only} == {2}


def test_models_of_other_sizes(tiny_vindex, tmp_path):
    changed = {"hidden_size": 48, "num_attention_heads": 6, "num_hidden_layers": 3}
    larqldb.extract(write_tiny(tmp_path / "m", **changed), tmp_path / "other.vindex")
    with closing(larqldb.connect(tiny_vindex)) as one, closing(larqldb.connect(tmp_path / "other.vindex")) as other:
        found = compared(State(one.session), State(other.session))
    assert not any(row.what.startswith("feature") for row in found)
    embed = next(row for row in found if row.where == "model.embed_tokens.weight")
    assert (embed.before, embed.after) == ("BF16 [400, 40]", "BF16 [400, 48]")
    assert sum(row.what == "tensor removed" for row in found) == 2 * 9


def test_models_of_other_depths_and_widths(tiny_vindex, tmp_path):
    changed = {"intermediate_size": 70, "num_hidden_layers": 6}
    larqldb.extract(write_tiny(tmp_path / "m", **changed), tmp_path / "other.vindex")
    with closing(larqldb.connect(tiny_vindex)) as one, closing(larqldb.connect(tmp_path / "other.vindex")) as other:
        found = compared(State(one.session), State(other.session), "features")
    assert sum(row.what == "feature added" for row in found) == 5 * 3 + 70
    assert not any(row.what == "feature removed" for row in found)


def test_files_that_hold_gates_alone(tiny_model, tiny_vindex, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "browse.vindex", level="browse")
    with closing(larqldb.connect(tiny_vindex)) as one, closing(larqldb.connect(tmp_path / "browse.vindex")) as other:
        assert compared(State(one.session), State(other.session)) == []


def test_one_relation(edited):
    found = compared(State(edited.session, base=True), State(edited.session), relation="capital", static=True)
    assert {row.relation for row in found} == {"capital"}
    assert len(found) == 4


def test_the_command(edited, tmp_path):
    from click.testing import CliRunner

    from larqldb.cli.diff import diff as command

    edited.commit()
    path = edited.path

    def run(*arguments, **options):
        return CliRunner().invoke(command, [str(one) for one in arguments], **options)

    told = json.loads(run(path, "--json").output)
    assert sorted(row["what"] for row in told) == ["edge added"] * 2 + ["feature added"] * 2 + ["feature removed"]
    rows = list(csv.DictReader(io.StringIO(run(path, "--without", "first", "--what", "edges", "--csv").output)))
    assert [(row["what"], row["where"], row["after"]) for row in rows] == [("edge added", "Atlantis", "Paris")]
    assert "edge added" in run(path, "--table").output
    assert json.loads(run(path, path, "--json").output) == []
    assert "leave OTHER out" in run(path, path, "--without", "first").output
    assert isinstance(run(path, tmp_path / "none.vindex").exception, SourceNotFound)
    (tmp_path / "text").write_text("x")
    assert isinstance(run(tmp_path / "text").exception, NotAVindex)
