"""Labels: confirmed where features contribute to many entities, and only there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import numpy as np
import pytest

import larqldb
from larqldb.errors import OperationalError
from larqldb.knowledge import contributors, labels
from larqldb.storage.checksums import verify
from larqldb.storage.database import MEMORY, fetch, open_database

Part = tuple[int, int, float]  # layer, feature, contribution


def add_answer(db: apsw.Connection, relation: str, entity: str, parts: Sequence[Part]) -> None:
    """What a probe writes about an entity."""
    db.execute("INSERT OR IGNORE INTO relations (name, source) VALUES (?, 'pack')", (relation,))
    ((edge,),) = fetch(
        db,
        "INSERT INTO edge_records (entity, relation, target, source, probability, agreement, confidence) "
        "VALUES (?, ?, 'x', 'probe', 0.5, 1, 0.9) RETURNING edge_id",
        (entity, relation),
    )
    placed = sorted(((layer << 20) + feature, size) for layer, feature, size in parts)
    places, sizes = np.array([place for place, _ in placed]), np.array([size for _, size in placed])
    contributors.write(db, edge, contributors.Contributors(places.astype(np.int64), sizes.astype(np.float32)))


RELATIONS, ENTITIES, NOISE = 6, 50, 400
PLANTED = {(9, number): number % RELATIONS for number in range(18)}  # feature → the relation it serves


def probed(db: apsw.Connection, *, seed: int = 0) -> None:
    """Answers that planted features help to write, for half of the entities of their relation, among noise."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.01, 0.3, NOISE)  # how often each feature contributes, whatever the relation
    for relation in range(RELATIONS):
        for entity in range(ENTITIES):
            parts: list[Part] = [(3, int(i), 1.0) for i in np.flatnonzero(rng.random(NOISE) < noise)]
            parts += [
                (*place, 2.0)
                for place, serves in PLANTED.items()
                if rng.random() < (0.5 if serves == relation else 0.02)
            ]
            add_answer(db, f"relation {relation}", f"entity {entity}", parts)


@pytest.fixture
def db() -> Iterator[apsw.Connection]:
    made = open_database(MEMORY)
    yield made
    made.close()


def found(db: apsw.Connection) -> dict[tuple[int, int], set[str]]:
    """Which relations are confirmed for which features."""
    given = labels.contributions(db)
    confirmed = labels.confirmed(given)
    served: dict[tuple[int, int], set[str]] = {}
    for feature, relation in zip(confirmed.feature.tolist(), confirmed.relation.tolist(), strict=True):
        layer, number = given.places[feature].tolist()
        served.setdefault((layer, number), set()).add(given.relations[relation])
    return served


def test_planted_features_are_confirmed_and_noise_is_not(db: apsw.Connection) -> None:
    probed(db)
    served = found(db)
    assert {place: {f"relation {relation}"} for place, relation in PLANTED.items()} == {
        place: relations for place, relations in served.items() if place in PLANTED
    }
    assert len(set(served) - set(PLANTED)) <= 1  # one in a hundred may be chance


def test_with_shuffled_relations_nothing_is_confirmed(db: apsw.Connection) -> None:
    probed(db)
    given, rng = labels.contributions(db), np.random.default_rng(1)
    confirmed = [len(labels.confirmed(given, rng.permutation(given.relation)).feature) for _ in range(50)]
    assert sum(map(bool, confirmed)) <= 2  # the rate is one in a hundred, and this is the exact distribution


def test_probability_is_that_of_shuffled_relations(db: apsw.Connection) -> None:
    rng = np.random.default_rng(2)
    for number in range(60):
        parts: list[Part] = [(0, 0, 1.0)] if (number < 20 and rng.random() < 0.5) or number % 7 == 0 else []
        add_answer(db, "a" if number < 20 else "b", str(number), parts)
    given = labels.contributions(db)
    hits = np.count_nonzero(given.relation[given.answer] == 0)
    shuffles = [np.count_nonzero(rng.permutation(given.relation)[given.answer] == 0) >= hits for _ in range(20_000)]
    chance = labels.log_chance(np.array([hits]), np.array([20]), np.array([len(given.answer)]), 60)
    assert np.exp(chance[0]) == pytest.approx(np.mean(shuffles), abs=0.01)


def test_few_entities_are_not_many(db: apsw.Connection) -> None:
    for number in range(400):
        parts: list[Part] = [(1, 0, 1.0)] if number < 2 * (labels.MANY - 1) and number % 2 == 0 else []
        add_answer(db, "ab"[number % 2], str(number), parts)
    assert found(db) == {}


def test_a_single_relation_is_told_from_nothing(db: apsw.Connection) -> None:
    for number in range(40):
        add_answer(db, "a", str(number), [(1, 0, 1.0)])
    assert found(db) == {}


def test_nothing_was_probed(db: apsw.Connection) -> None:
    given = labels.contributions(db)
    assert given.relations == ()
    assert len(given.answer) == 0


def test_shares_tell_what_a_feature_does_for_each_relation(db: apsw.Connection) -> None:
    for number in range(120):
        size = (3.0, 1.0, 0.0)[number % 3]
        add_answer(db, "abc"[number % 3], str(number), [(1, 0, size)] if size else [])
    given = labels.contributions(db)
    confirmed = labels.confirmed(given)
    assert confirmed.relation.tolist() == [0, 1]
    assert confirmed.share.tolist() == pytest.approx([0.75, 0.25])
    assert confirmed.entities.tolist() == [40, 40]
    assert (confirmed.score > 5).all()


def add_years(db: apsw.Connection) -> None:
    """Features 1 and 20 of layer 3 promote years."""
    ids = range(380, 390)
    db.executemany("UPDATE tokens SET text = ? WHERE token_id = ?", ((f" {1600 + token}", token) for token in ids))
    for feature in (1, 20):
        db.executemany(
            "UPDATE feature_tokens SET token_id = ? WHERE layer = 3 AND feature = ? AND rank = ?",
            ((token, feature, rank) for rank, token in enumerate(ids, start=1)),
        )
    db.execute("UPDATE features SET token_id = 380, token = ' 1980' WHERE layer = 3 AND feature IN (1, 20)")


# Whole files


@pytest.fixture
def conn(tiny_vindex: Path) -> Iterator[larqldb.Connection]:
    connection = larqldb.connect(tiny_vindex)
    with connection.session.db:
        add_relations(connection.session.db)
        add_years(connection.session.db)
    yield connection
    connection.close()


def add_relations(db: apsw.Connection) -> None:
    """Features 1 and 2 of layer 3 serve a relation each, feature 3 both."""
    for number in range(80):
        relation = ("capital", "language")[number % 2]
        mine: list[Part] = [(3, 1 + number % 2, 1.0), (3, 3, 2.0 - number % 2)]
        add_answer(db, relation, f"entity {number}", mine)
    for number in range(80):
        add_answer(db, "colour", f"entity {number}", [(3, 4, 1.0)] if number % 9 == 0 else [])


def test_labels_are_written_with_source_and_score(conn: larqldb.Connection) -> None:
    report = labels.label(conn.session)
    rows = fetch(
        conn.session.db, "SELECT feature, relation, label_source FROM features WHERE layer = 3 AND feature < 4"
    )
    assert rows[1:] == [(1, "capital", "probe"), (2, "language", "probe"), (3, "capital", "probe")]
    served = fetch(
        conn.session.db,
        "SELECT relation, entities, round(share, 3) FROM feature_relations WHERE layer = 3 AND feature = 3 "
        "AND source = 'probe' ORDER BY relation",
    )
    assert served == [("capital", 40, 0.667), ("language", 40, 0.333)]
    assert report.labelled["probe"] == 4
    assert report.relations["probe"] == 3
    assert report.confirmed == pytest.approx(4 / report.features)


def test_layers_count_what_is_labelled(conn: larqldb.Connection) -> None:
    labels.label(conn.session)
    counted = fetch(conn.session.db, "SELECT layer, count(relation) FROM features GROUP BY layer ORDER BY layer")
    assert [(row[0], row[3]) for row in conn.execute("SHOW LAYERS").fetchall()] == counted
    assert sum(count for _, count in counted) >= 4


def test_all_three_sources_label_and_the_best_is_shown(conn: larqldb.Connection) -> None:
    db = conn.session.db
    labels.label(conn.session)
    ranks = {"probe": 0, "cluster": 1, "pattern": 2}
    best: dict[tuple[int, int], str] = {}
    for layer, feature, source in fetch(db, "SELECT layer, feature, source FROM feature_relations"):
        known = best.setdefault((layer, feature), source)
        if ranks[source] < ranks[known]:
            best[layer, feature] = source
    written = fetch(db, "SELECT layer, feature, label_source FROM features WHERE relation IS NOT NULL")
    assert {(layer, feature): source for layer, feature, source in written} == best
    assert best[3, 1] == "probe"
    sources = {
        source for (source,) in fetch(db, "SELECT source FROM feature_relations WHERE layer = 3 AND feature = 1")
    }
    assert sources == {"probe", "pattern"}
    assert best[3, 20] == "pattern"


@pytest.mark.parametrize("afresh", [False, True])
def test_labelling_again_changes_nothing(conn: larqldb.Connection, tiny_vindex: Path, afresh: bool) -> None:
    labels.label(conn.session)
    before = hashlib.sha256(tiny_vindex.read_bytes()).hexdigest()
    labels.label(conn.session, afresh=afresh)
    assert hashlib.sha256(tiny_vindex.read_bytes()).hexdigest() == before


def test_labels_go_with_their_evidence(conn: larqldb.Connection) -> None:
    db = conn.session.db
    labels.label(conn.session)
    assert fetch(db, "SELECT count(*) FROM features WHERE label_source = 'probe'") == [(4,)]
    db.execute("DELETE FROM edge_records WHERE source = 'probe' AND relation = 'language'")
    labels.label(conn.session)
    assert fetch(db, "SELECT count(*) FROM feature_relations WHERE relation = 'language'") == [(0,)]
    assert fetch(db, "SELECT count(*) FROM features WHERE relation = 'language'") == [(0,)]


def test_a_users_own_label_stays(conn: larqldb.Connection) -> None:
    db = conn.session.db
    db.execute("UPDATE features SET relation = 'mine', label_source = 'user' WHERE layer = 3 AND feature = 1")
    labels.label(conn.session)
    labels.label(conn.session)
    own = fetch(db, "SELECT relation, label_source FROM features WHERE layer = 3 AND feature = 1")
    assert own == [("mine", "user")]


def test_clusters_and_patterns_are_relations_that_say_what_they_are(conn: larqldb.Connection) -> None:
    db = conn.session.db
    labels.label(conn.session)
    nameless = "SELECT relation FROM feature_relations WHERE relation NOT IN (SELECT name FROM relations)"
    assert fetch(db, nameless) == []
    about = dict(fetch(db, "SELECT name, description FROM relations WHERE source IN ('cluster', 'pattern')"))
    assert about["pattern:year"] == "at least half of the feature's ten tokens are years"
    assert all(about.values())
    properties = dict(fetch(db, "SELECT key, value FROM model WHERE key LIKE 'clusters%'"))
    assert properties["clusters_seed"] == 0
    assert properties["clusters"] >= 0
    db.execute("DELETE FROM feature_tokens")
    db.execute("UPDATE features SET token_id = 0")
    labels.label(conn.session)
    assert about == dict(fetch(db, "SELECT name, description FROM relations WHERE source IN ('cluster', 'pattern')"))
    labels.label(conn.session, afresh=True)
    assert fetch(db, "SELECT name FROM relations WHERE source IN ('cluster', 'pattern')") == []


def test_a_labelled_file_is_sound(conn: larqldb.Connection, tiny_vindex: Path) -> None:
    labels.label(conn.session)
    conn.close()
    with larqldb.connect(tiny_vindex, read_only=True) as again:
        assert list(verify(again.session.db)) == []
        assert again.execute("SELECT count(*) FROM features WHERE label_source = 'probe'").fetchone() == (4,)


def test_statements_show_the_labels(conn: larqldb.Connection) -> None:
    labels.label(conn.session)
    shown = {row[0]: row for row in conn.execute("SHOW RELATIONS WITH EXAMPLES").fetchall()}
    assert shown["capital"][1:5] == (2, 40, "[3]", "pack")
    assert shown["capital"][5].startswith('["entity 0 → x"')
    features = conn.execute("SHOW FEATURES 3 WHERE relation = 'capital'").fetchall()
    assert [(row[1], row[4], row[6]) for row in features] == [(1, "capital", "probe"), (3, "capital", "probe")]
    assert shown["pattern:year"][1:] == (1, 0, "[3]", "pattern", '[" 1980"]')
    plan = str(
        conn.session.db.execute("EXPLAIN QUERY PLAN SELECT * FROM features WHERE relation = 'capital'").fetchall()
    )
    assert "features_by_relation" in plan


def test_nothing_is_written_when_it_fails(conn: larqldb.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(labels, "_describe", fail)
    with pytest.raises(RuntimeError):
        labels.label(conn.session)
    assert fetch(conn.session.db, "SELECT count(*) FROM feature_relations") == [(0,)]
    assert fetch(conn.session.db, "SELECT count(relation) FROM features") == [(0,)]


def test_a_file_that_cannot_be_written(tiny_vindex: Path) -> None:
    with larqldb.connect(tiny_vindex, read_only=True) as connection, pytest.raises(OperationalError, match="read-only"):
        labels.label(connection.session)


def test_progress_says_what_is_being_done(conn: larqldb.Connection) -> None:
    said: list[str] = []
    labels.label(conn.session, said.append)
    assert said == ["features that write answers", "clusters", "patterns", "writing"]
    said.clear()
    labels.label(conn.session, said.append)
    assert said == ["features that write answers", "writing"]
