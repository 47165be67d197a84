from __future__ import annotations

import json
from pathlib import Path

import pytest

import larqldb
from larqldb.errors import DataError, InternalError, ProgrammingError
from larqldb.functions import associations as module
from larqldb.functions import known as known_module

COLUMNS = (
    "relation", "target", "score", "layer", "feature", "layers", "hits", "also", "band", "confidence", "source",
)  # fmt: skip


def describe(conn: larqldb.Connection, *arguments: object) -> list[dict[str, object]]:
    marks = ", ".join("?" * len(arguments))
    rows = conn.execute(f"SELECT * FROM describe({marks})", arguments).fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models have few features that stand out: ask for less."""
    monkeypatch.setattr(module, "STANDOUT", 0.5)


def words(conn: larqldb.Connection, layer: object, feature: object) -> list[str]:
    sql = "SELECT text FROM feature_tokens JOIN tokens USING (token_id) WHERE layer = ? AND feature = ? ORDER BY rank"
    return [text.strip() for (text,) in conn.execute(sql, (layer, feature))]


@pytest.mark.usefixtures("generous")
class TestAssociations:
    def test_rows_are_what_the_features_promote_strongest_first(self, conn: larqldb.Connection) -> None:
        rows = describe(conn, "Paris", None, None, None, 0, "verbose")
        assert len(rows) > 10
        scores = [row["score"] for row in rows]
        assert scores == sorted(scores, reverse=True)
        for row in rows:
            first, *rest = words(conn, row["layer"], row["feature"])
            assert row["target"] == first
            also = json.loads(str(row["also"]))
            assert set(also) <= set(rest)
            assert first not in also
            assert row["layer"] in json.loads(str(row["layers"]))
            assert (row["relation"], row["confidence"], row["source"]) == (None, None, "static")

    def test_the_score_is_the_gate_of_what_enters(self, conn: larqldb.Connection) -> None:
        for row in describe(conn, "Paris")[:5]:
            sql = "SELECT score FROM gate_match('Paris', NULL, ?) WHERE feature = ?"
            assert conn.execute(sql, (row["layer"], row["feature"])).fetchone() == (pytest.approx(row["score"]),)

    def test_targets_are_merged_over_layers_and_raw_are_not(self, conn: larqldb.Connection) -> None:
        merged = describe(conn, "Paris", None, None, None, 0, "verbose")
        raw = describe(conn, "Paris", None, None, None, 0, "raw")
        assert len({str(row["target"]).casefold() for row in merged}) == len(merged) < len(raw)
        assert sum(int(str(row["hits"])) for row in merged) == len(raw) == sum(int(str(row["hits"])) for row in raw)
        twice = next(row for row in merged if row["hits"] != 1)
        same = [row for row in raw if str(row["target"]).casefold() == str(twice["target"]).casefold()]
        assert len(same) == twice["hits"]
        assert json.loads(str(twice["layers"])) == sorted({row["layer"] for row in same})
        assert twice["score"] == max(row["score"] for row in same)

    def test_details_bound_the_rows(self, conn: larqldb.Connection) -> None:
        verbose = describe(conn, "Paris", None, None, None, 0, "verbose")
        assert describe(conn, "Paris") == verbose[:50]
        assert describe(conn, "Paris", None, None, None, 0, "BRIEF") == verbose[:10]

    def test_layers_and_bands_choose(self, conn: larqldb.Connection) -> None:
        bands = dict(conn.execute("SELECT layer, band FROM layers").fetchall())
        whole = describe(conn, "Paris", None, None, "all", 0, "raw")
        for band in ("syntax", "knowledge", "output"):
            rows = describe(conn, "Paris", None, None, band, 0, "raw")
            assert rows == [row for row in whole if row["band"] == band]
            assert {bands[row["layer"]] for row in rows} <= {band}
        usual = describe(conn, "Paris", None, None, None, 0, "raw")
        assert usual == [row for row in whole if row["band"] != "syntax"]
        assert usual != whole
        for first, last in ((2, 2), (1, 3), (None, 0), (4, None)):
            rows = describe(conn, "Paris", first, last, None, 0, "raw")
            wanted = range(first or 0, (4 if last is None else last) + 1)
            assert rows == [row for row in whole if row["layer"] in wanted]
        assert describe(conn, "Paris", 0, 0, "output") == []

    def test_the_answer_is_the_same_without_room_for_the_scan(self, tiny_vindex: Path) -> None:
        with larqldb.connect(tiny_vindex) as roomy:
            first = describe(roomy, "Paris", None, None, None, 0, "raw")
            module._remembered.clear()
            second = describe(roomy, "Paris", None, None, None, 0, "raw")
            assert roomy.session.gate_scan() is not None
            roomy.session.cache_bytes = 5 * 67 * 40 * 2  # the 8-bit gates fit, those in float32 do not
            del roomy.session.__dict__["_gate_scan"]
            module._remembered.clear()
            third = describe(roomy, "Paris", None, None, None, 0, "raw")
            assert roomy.session.gate_scan() is not None
        roomy.close()
        for other in (second, third):
            assert [(r["layer"], r["feature"], r["target"]) for r in first] == [
                (r["layer"], r["feature"], r["target"]) for r in other
            ]
            assert [r["score"] for r in first] == pytest.approx([r["score"] for r in other])

    def test_several_words_and_any_script(self, conn: larqldb.Connection) -> None:
        assert describe(conn, "New York") != describe(conn, "York")
        assert {"new", "york"}.isdisjoint(str(row["target"]).casefold() for row in describe(conn, "New York"))
        for entity in ("東京", "Москва", "it's", 'a"b', "\u202eParis", "🜁", "  France  ", "a;b--c"):
            assert isinstance(describe(conn, entity), list)
        assert describe(conn, "  France  ") == describe(conn, "France")

    def test_relations_only_leaves_what_has_one(self, conn: larqldb.Connection) -> None:
        assert describe(conn, "Paris", None, None, None, 1) == []
        best = describe(conn, "Paris")[0]
        conn.execute(
            "UPDATE features SET relation = 'capital' WHERE layer = ? AND feature = ?", (best["layer"], best["feature"])
        )
        (row,) = describe(conn, "Paris", None, None, None, 1)
        assert row == {**best, "relation": "capital"}

    @pytest.mark.parametrize("source", ["probe", "pattern", "cluster", "mine", None])
    def test_a_relation_goes_with_what_it_is_known_to_have(self, conn: larqldb.Connection, source: str | None) -> None:
        first, second = describe(conn, "Paris")[:2]
        for row in (first, second):
            place = (source, row["layer"], row["feature"])
            conn.execute("UPDATE features SET relation = 'is', label_source = ? WHERE layer = ? AND feature = ?", place)
        edge(conn, "Nobody", "is", str(first["target"]).capitalize(), 0.9)
        known = {"probe": [first], "pattern": [], "cluster": []}.get(source or "", [first, second])
        assert describe(conn, "Paris", None, None, None, 1) == [{**row, "relation": "is"} for row in known]

    def test_lateral_for_each_of_many_entities(self, conn: larqldb.Connection) -> None:
        found = conn.execute(
            "SELECT e.name, count(*) FROM (SELECT 'Paris' AS name UNION ALL SELECT 'Rome') AS e "
            "JOIN describe(e.name, NULL, NULL, NULL, 0, 'brief') AS d GROUP BY 1 ORDER BY 1"
        ).fetchall()
        assert found == [("Paris", 10), ("Rome", 10)]


def test_confirmed_edges_come_first_and_count(conn: larqldb.Connection, generous: None) -> None:
    edges = [
        ("France", "capital", "Paris", 2, 3, 1.5, 0.9, "probe"),
        ("France", "river", "Seine", None, None, None, 1, "user"),
    ]
    conn.executemany(
        "INSERT INTO edge_records (entity, relation, target, layer, feature, score, confidence, source) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        edges,
    )
    for spelling in ("France", "france", "FRANCE", " France "):
        first, second, *rest = describe(conn, spelling, None, None, None, 0, "brief")
        assert (first["relation"], first["target"], first["confidence"], first["layers"]) == ("river", "Seine", 1, "[]")
        assert (second["target"], second["layer"], second["layers"], second["source"]) == ("Paris", 2, "[2]", "probe")
        assert len(rest) == 8
        assert {row["source"] for row in rest} == {"static"}
    assert [row["target"] for row in describe(conn, "France", 3, 4)][:2][0] == "Seine"
    assert "Paris" not in [row["target"] for row in describe(conn, "France", 3, 4) if row["source"] == "probe"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("",), DataError, "the entity is empty"),
        ((5,), ProgrammingError, "entity must be text, not int"),
        ((b"x",), ProgrammingError, "entity must be text, not bytes"),
        (("Paris", 9), ProgrammingError, "there is no layer 9: this vindex holds layers 0-4"),
        (("Paris", None, -1), ProgrammingError, "there is no layer -1"),
        (("Paris", None, None, "middle"), ProgrammingError, "band 'middle' is not one of syntax, knowledge"),
        (("Paris", None, None, None, 0, "loud"), ProgrammingError, "detail 'loud' is not one of brief, verbose, raw"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    conn: larqldb.Connection, arguments: tuple[object, ...], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        describe(conn, *arguments)


def test_null_entity_gives_no_rows(conn: larqldb.Connection) -> None:
    assert describe(conn, None) == []


def test_memory_stays_within_the_sessions_bound(conn: larqldb.Connection) -> None:
    session = conn.session
    one = session.matrix("gate", 0).nbytes
    session.cache_bytes = 3 * one
    for layer in session.layers:
        session.matrix("gate", layer)
    assert sum(kept.nbytes for kept in session._matrices.values()) == 3 * one
    describe(conn, "Paris")
    describe(conn, "Rome")
    assert session._scan_bytes > 0
    assert session._scan_bytes + sum(kept.nbytes for kept in session._matrices.values()) <= max(
        session.cache_bytes, one
    )


@pytest.mark.usefixtures("generous")
def test_few_associations_stand_beside_edges_and_faint_edges_do_not_show(conn: larqldb.Connection) -> None:
    edge(conn, "Paris", "capital_of", "France", 0.9)
    edge(conn, "Paris", "capital_of", "Italy", 0.09)
    for detail in (None, "brief"):
        rows = describe(conn, "Paris", None, None, None, 0, detail)
        assert [row["target"] for row in rows if row["source"] == "probe"] == ["France"]
        assert len(rows) == {None: 11, "brief": 10}[detail]
    for detail in ("verbose", "raw"):
        rows = describe(conn, "Paris", None, None, None, 0, detail)
        assert [row["target"] for row in rows if row["source"] == "probe"] == ["France", "Italy"]
        assert len(rows) > 12


# Edges and their evidence


def edge(conn: larqldb.Connection, entity: str, relation: str, target: str, confidence: float, *pieces: object) -> None:
    """Write an edge as a probe does; pieces are (layer, feature, contribution), strongest first."""
    layer, feature, score = pieces[0] if pieces else (None, None, None)
    edge_id = conn.execute(
        "INSERT INTO edge_records (entity, relation, target, layer, feature, score, confidence, source) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 'probe') RETURNING edge_id",
        (entity, relation, target, layer, feature, score, confidence),
    ).fetchone()[0]
    conn.executemany(
        "INSERT INTO edge_evidence VALUES (?, ?, 0, ?, ?, ?, 1)",
        [(edge_id, rank, *piece) for rank, piece in enumerate(pieces, start=2)],
    )
    conn.execute("INSERT INTO edge_evidence VALUES (?, 1, 1, 0, 1, 9.0, 1)", (edge_id,))


@pytest.fixture
def france(conn: larqldb.Connection) -> larqldb.Connection:
    edge(conn, "France", "capital", "Paris", 0.9, (3, 5, 2.0), (4, 6, 1.5), (4, 7, 1.0), (0, 8, -1.0))
    edge(conn, "France", "borders", "Spain", 0.4, (4, 9, 3.0))
    edge(conn, "France", "anthem", "Marseillaise", 0.95)
    return conn


def known(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [
        tuple(row[name] for name in ("target", "layer", "feature", "score", "layers", "hits"))
        for row in rows
        if row["source"] != "static"
    ]


class TestEvidence:
    def test_rows_tell_how_many_features_in_which_layers(self, france: larqldb.Connection) -> None:
        rows = describe(france, "France")
        assert known(rows) == [
            ("Marseillaise", None, None, None, "[]", 0),
            ("Paris", 3, 5, 2.0, "[0, 3, 4]", 4),
            ("Spain", 4, 9, 3.0, "[4]", 1),
        ]
        bands = dict(france.execute("SELECT layer, band FROM layers").fetchall())
        assert [row["band"] for row in rows[:3]] == [None, bands[3], bands[4]]
        first, *others = words(france, 3, 5)
        assert set(json.loads(str(rows[1]["also"]))) <= {*others} - {first}

    def test_layers_choose_by_evidence_and_show_the_strongest_there(self, france: larqldb.Connection) -> None:
        assert known(describe(france, "France", 4, 4)) == [
            ("Marseillaise", None, None, None, "[]", 0),
            ("Paris", 4, 6, 1.5, "[4]", 2),
            ("Spain", 4, 9, 3.0, "[4]", 1),
        ]
        assert [row[0] for row in known(describe(france, "France", 0, 2))] == ["Marseillaise", "Paris"]

    def test_bands_choose_by_evidence(self, france: larqldb.Connection) -> None:
        france.execute("UPDATE layers SET band = CASE WHEN layer < 4 THEN 'syntax' ELSE 'output' END")
        assert known(describe(france, "France", None, None, "syntax"))[1:] == [("Paris", 3, 5, 2.0, "[0, 3]", 2)]
        assert [row[0] for row in known(describe(france, "France", None, None, "knowledge"))] == ["Marseillaise"]
        for usual in (None, "all"):  # what was confirmed is not left out for where it stands
            assert known(describe(france, "France", None, None, usual))[1] == ("Paris", 3, 5, 2.0, "[0, 3, 4]", 4)

    def test_raw_gives_each_feature(self, france: larqldb.Connection) -> None:
        assert known(describe(france, "France", None, None, None, 0, "raw")) == [
            ("Marseillaise", None, None, None, "[]", 0),
            ("Paris", 3, 5, 2.0, "[3]", 1),
            ("Paris", 4, 6, 1.5, "[4]", 1),
            ("Paris", 4, 7, 1.0, "[4]", 1),
            ("Paris", 0, 8, -1.0, "[0]", 1),
            ("Spain", 4, 9, 3.0, "[4]", 1),
        ]

    def test_statements_keep_the_order(self, france: larqldb.Connection, generous: None) -> None:
        rows = france.execute('DESCRIBE "France"').fetchall()
        sources = [row[10] for row in rows]
        assert sources == sorted(sources)
        assert [row[1] for row in rows[:3]] == ["Marseillaise", "Paris", "Spain"]
        scores = [row[2] for row in rows[3:]]
        assert scores == sorted(scores, reverse=True)
        assert max(scores) > 3.0

    def test_relations_only_keeps_edges(self, france: larqldb.Connection, generous: None) -> None:
        rows = describe(france, "France", None, None, None, 1)
        assert [row["relation"] for row in rows] == ["anthem", "capital", "borders"]

    def test_ten_edges_are_enough_for_brief(self, france: larqldb.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(9):
            edge(france, "France", "visited by", f"visitor {number}", number / 10)
        monkeypatch.setattr(module, "standing_out", None)
        assert [row["confidence"] for row in describe(france, "France", None, None, None, 0, "brief")] == [
            0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.3, 0.2,
        ]  # fmt: skip
        with pytest.raises(InternalError, match="not callable"):
            describe(france, "France")

    def test_what_edits_deleted_is_gone(self, france: larqldb.Connection) -> None:
        france.execute("INSERT INTO hidden_edges SELECT edge_id FROM edge_records WHERE target = 'Paris'")
        assert [row[0] for row in known(describe(france, "France"))] == ["Marseillaise", "Spain"]


class TestNames:
    @pytest.mark.parametrize(
        ("written", "asked"),
        [
            ("United States of America", "united states of america"),
            ("United States of America", "UNITED STATES OF AMERICA"),
            ("iPhone", "IPHONE"),
            ("Zürich", "ZÜRICH"),
            ("Élysée", "élysée"),
            ("Москва", "москва"),
            ('O\'Brien "x" %_', 'o\'brien "X" %_'),
        ],
    )
    def test_capitals_do_not_matter(self, conn: larqldb.Connection, written: str, asked: str) -> None:
        edge(conn, written, "is", "found", 0.5)
        assert [row[0] for row in known(describe(conn, asked))] == ["found"]

    def test_the_very_spelling_goes_before_others(self, conn: larqldb.Connection) -> None:
        edge(conn, "Polish", "is", "a language", 0.5)
        edge(conn, "polish", "is", "a cream", 0.9)
        assert [row[0] for row in known(describe(conn, "Polish"))] == ["a language"]
        assert [row[0] for row in known(describe(conn, "polish"))] == ["a cream"]
        assert [row[0] for row in known(describe(conn, "POLISH"))] == ["a cream", "a language"]

    def test_aliases_of_facts_lead_to_their_targets(self, conn: larqldb.Connection) -> None:
        conn.execute("INSERT INTO relations VALUES ('country', NULL, 'test')")
        conn.execute(
            "INSERT INTO facts VALUES ('country', 'Boston', 'United States', ?, 'test')", (json.dumps(["USA", "Gelb"]),)
        )
        conn.execute("INSERT INTO facts VALUES ('country', 'Bonn', 'yellow', ?, 'test')", (json.dumps(["gelb"]),))
        edge(conn, "United States", "capital", "Washington", 0.5)
        assert [row[0] for row in known(describe(conn, "usa"))] == ["Washington"]
        assert [row[0] for row in known(describe(conn, "gelb"))] == ["Washington"]  # the one that something is known of
        edge(conn, "Gelb", "is", "a name", 0.5)
        assert [row[0] for row in known(describe(conn, "gelb"))] == ["a name"]

    def test_what_was_not_asked_is_looked_up_by_indexes(self, conn: larqldb.Connection) -> None:
        plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {known_module._UNASKED}", ("[]",))]
        for table in ("probes", "not_asked"):
            assert any(step.startswith(f"SEARCH {table} USING") for step in plan)
        assert {step for step in plan if step.startswith("SCAN") and "json_each" not in step} == {
            "SCAN relation_domains"
        }

    @pytest.mark.parametrize(
        ("sql", "index"),
        [
            (known_module._EDGES, "edge_records_by_name"),
            (known_module._ALIASES, "edge_records_by_name"),
            ("SELECT entity FROM edges WHERE relation = 'capital' AND target = ?", "edge_records_by_target"),
            ("SELECT subject FROM model_graph WHERE object = ?", "edge_records_by_target"),
        ],
    )
    def test_indexes_serve(self, conn: larqldb.Connection, sql: str, index: str) -> None:
        plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}", ("[]",))]
        assert any(f"USING INDEX {index}" in step or f"USING COVERING INDEX {index}" in step for step in plan)
        assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step]
