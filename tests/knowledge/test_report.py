"""The report is one valid page that says what the rows say, whatever they say."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from larqldb.knowledge import report_charts, report_data
from larqldb.knowledge.report import report
from larqldb.knowledge.report_data import read
from larqldb.storage.database import MEMORY, open_database

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import html5lib

NASTY = "<script>alert('x')</script> & \" ' \u202eabc \x07\0 مرحبا 🜁 ]]> ﷐"
HTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"

# entity, relation, target, confidence, and heads or features (kind, layer, number, contribution)
EDGES = [
    ("France", "capital", "Paris", 0.9, [("head", 3, 1, 4.0), ("feature", 4, 10, 2.0), ("feature", 2, 7, -1.0)]),
    ("France", "capital", "Lyon", 0.1, [("feature", 4, 11, 9.0)]),
    ("Japan", "capital", "Kyoto", 0.8, [("head", 3, 1, 2.0)]),
    ("Atlantis", "capital", "Poseidonis", 0.3, []),
    ("Spain", "borders", "portugal", 0.6, [("feature", 0, 0, 1.0)]),
    (NASTY, NASTY, NASTY, 0.95, [("feature", 1, 2, 3.0)]),
]
FACTS = [
    ("capital", "France", "Paris", None),
    ("capital", "Japan", "Tokyo", '["Tōkyō"]'),
    ("borders", "Spain", "Portugal", None),
    ("borders", "Spain", "France", None),
    (NASTY, NASTY, "something else", None),
]


def know(db: apsw.Connection) -> None:
    """Give a vindex the rows of a probe."""
    for relation in ("capital", "borders", NASTY):
        db.execute("INSERT INTO relations VALUES (?, NULL, 'test')", (relation,))
    for relation, entity, target, aliases in FACTS:
        db.execute("INSERT INTO facts VALUES (?, ?, ?, ?, 'test')", (relation, entity, target, aliases))
    for edge_id, (entity, relation, target, confidence, pieces) in enumerate(EDGES, start=1_000_000):
        for template in ("a {entity}", "the {entity}"):
            row = (relation, entity, template, target)
            db.execute("INSERT OR IGNORE INTO probes VALUES (?, ?, ?, ?, 0.5, NULL)", row)
        db.execute(
            "INSERT INTO edge_records (edge_id, entity, relation, target, confidence, probability, agreement, logit, "
            "source) VALUES (?, ?, ?, ?, ?, 0.5, 1.0, 10.0, 'probe')",
            (edge_id, entity, relation, target, confidence),
        )
        for rank, (kind, layer, number, contribution) in enumerate(pieces, start=1):
            row = (edge_id, rank, kind == "head", layer, number, contribution, 2)
            db.execute("INSERT INTO edge_evidence VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("INSERT INTO calibration VALUES (1, 0.1, 0.2, 30), (2, 0.9, 0.84, 10)")


@pytest.fixture
def unprobed(tiny_extracted: Path) -> Iterator[apsw.Connection]:
    db = open_database(tiny_extracted, read_only=True)
    yield db
    db.close()


@pytest.fixture(scope="module")
def probed_file(tiny_extracted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(tiny_extracted, tmp_path_factory.mktemp("probed") / "tiny.vindex"))
    db = open_database(path)
    know(db)
    db.close()
    return path


@pytest.fixture
def probed(probed_file: Path) -> Iterator[apsw.Connection]:
    db = open_database(probed_file, read_only=True)
    yield db
    db.close()


def parsed(page: str) -> Any:
    """The page's elements; any mistake in its HTML is an error."""
    return html5lib.HTMLParser(strict=True).parse(page)


def texts(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())


def section(page: str, anchor: str) -> Any:
    return next(one for one in parsed(page).iter(f"{HTML}section") if one.get("id") == anchor)


def rows(element: Any) -> list[list[str]]:
    """The cells of a section's tables, and its rows of pictures."""
    found = [[texts(cell) for cell in row] for row in element.iter(f"{HTML}tr")]
    return found + [
        [texts(part) for part in row if part.get("class") != "picture"]
        for row in element.iter(f"{HTML}div")
        if row.get("class") == "row"
    ]


def page(db: apsw.Connection) -> str:
    return "".join(report(db))


Fixture = Callable[..., Any]


@pytest.mark.parametrize("fixture", ["unprobed", "probed"])
def test_it_is_one_valid_page_that_needs_nothing_else(fixture: str, request: pytest.FixtureRequest) -> None:
    whole = page(request.getfixturevalue(fixture))
    tree = parsed(whole)
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in tree.iter():
        if not isinstance(element.tag, str):
            continue
        assert element.tag.rpartition("}")[2] not in ("script", "link", "img", "iframe", "object", "embed")
        for attribute, value in element.attrib.items():
            assert not str(attribute).startswith("on")
            assert "://" not in value
            if attribute == "href":
                assert value.removeprefix("#") in ids
        assert element.tag != f"{SVG}svg" or element.get("aria-label")
    assert "url(" not in whole
    assert "@import" not in whole
    assert whole.isprintable() or not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", whole)


def test_the_same_file_gives_the_same_bytes(probed_file: Path, tmp_path: Path) -> None:
    pages = set()
    for path in (probed_file, Path(shutil.copy(probed_file, tmp_path / "other name.vindex"))):
        db = open_database(path, read_only=True)
        pages.add(page(db))
        db.close()
    assert len(pages) == 1


def test_it_shows_no_folders_of_the_machine(probed: apsw.Connection) -> None:
    source = Path(probed.execute("SELECT value FROM model WHERE key = 'source'").get)
    assert source.is_absolute()
    assert str(source.parent) not in page(probed)
    assert source.name in page(probed)


def test_texts_stay_texts(probed: apsw.Connection) -> None:
    shown = NASTY.replace("\x07\0", "\ufffd\ufffd").replace("﷐", "\ufffd")
    tree = parsed(page(probed))
    assert " ".join(shown.split()) in {texts(one) for one in tree.iter(f"{HTML}bdi")}


def test_an_unprobed_file_says_what_to_do(unprobed: apsw.Connection) -> None:
    whole = page(unprobed)
    for anchor in ("model", "places", "attention", "examples", "truth", "calibration", "relations"):
        assert "larqldb probe FILE" in texts(section(whole, anchor))
    assert [row[0] for row in rows(section(whole, "bands"))] == ["band", "syntax", "knowledge", "output"]


def test_an_empty_database_gives_a_page() -> None:
    db = open_database(MEMORY)
    try:
        assert "This file holds no layers" in texts(section(page(db), "bands"))
    finally:
        db.close()


def test_bands_show_all_evidence_there_is(probed_file: Path, tmp_path: Path) -> None:
    db = open_database(shutil.copy(probed_file, tmp_path / "copy.vindex"))
    assert len(list(section(page(db), "bands").iter(f"{HTML}figure"))) == 4
    db.execute("UPDATE layers SET answers_read = layer / 10.0, knockout = 1 - layer / 10.0")
    assert len(list(section(page(db), "bands").iter(f"{HTML}figure"))) == 6
    db.close()


def test_right_and_wrong_are_of_surest_answers(probed: apsw.Connection) -> None:
    found = rows(section(page(probed), "truth"))
    assert ["Japan", "capital", "Kyoto", "Tokyo", "0.80"] in found
    assert ["capital", "1 of 2 right"] in found
    assert ["borders", "1 of 1 right"] in found
    assert not any("Lyon" in cell or "Atlantis" in cell for row in found for cell in row)
    known = read(probed)
    assert {belief.entity: belief.right for belief in known.beliefs if belief.entity != NASTY} == {
        "France": True, "Japan": False, "Atlantis": None, "Spain": True,
    }  # fmt: skip


def test_layers_hold_means_over_surest_answers(probed: apsw.Connection) -> None:
    capital = next(relation for relation in read(probed).relations if relation.name == "capital")
    means = {place: (part.net, part.gross) for place, part in capital.by_layer.items()}
    assert means == {
        ("head", 3): (pytest.approx(2.0), pytest.approx(2.0)),
        ("feature", 4): (pytest.approx(2 / 3), pytest.approx(2 / 3)),
        ("feature", 2): (pytest.approx(-1 / 3), pytest.approx(1 / 3)),
    }
    assert capital.strongest_layers == [3, 4, 2]
    cells = [texts(cell) for cell in section(page(probed), "places").iter(f"{SVG}title")]
    assert {"layer 3, attention: +2.00", "layer 2, features: −0.33"} <= set(cells)
    (share,) = (row for row in rows(section(page(probed), "attention")) if row[0] == "capital")
    assert share == ["capital", "attention 67 %net: +2.00, +0.33"]


def test_relations_are_counted(probed: apsw.Connection) -> None:
    found = rows(section(page(probed), "relations"))
    assert ["capital", "3, 4, 2", "2", "3", "4", "0.67", "1", "1", "0"] in found
    assert ["borders", "0", "2", "1", "1", "0.60", "1", "0", "0"] in found


def test_examples_show_what_wrote_them(probed: apsw.Connection) -> None:
    cards = [texts(card) for card in section(page(probed), "examples").iter(f"{HTML}article")]
    (france,) = (card for card in cards if card.startswith("France — capital → Paris"))
    tokens = [
        text.strip() if text.strip().isprintable() and text.strip() else repr(text)
        for (text,) in probed.execute(
            "SELECT text FROM feature_tokens JOIN tokens USING (token_id) WHERE layer = 4 AND feature = 10 "
            "ORDER BY rank LIMIT ?",
            (report_data.TOKENS,),
        )
    ]
    assert "confidence 0.90 · probability 0.50 · 100 % of wordings · right" in france
    assert france.endswith(f"+4.00layer 3 head 1 (40 %)+2.00layer 4 feature 10 (20 %): {' '.join(tokens)}")


def test_the_calibration_error_is_weighted_by_edges(probed: apsw.Connection) -> None:
    assert read(probed).error == pytest.approx((0.1 * 30 + 0.06 * 10) / 40)
    assert "is 0.090." in texts(section(page(probed), "calibration"))
    assert sum(1 for _ in section(page(probed), "calibration").iter(f"{SVG}circle")) == 2


def test_many_relations_are_cut_and_counted(probed_file: Path, tmp_path: Path) -> None:
    db = open_database(shutil.copy(probed_file, tmp_path / "copy.vindex"))
    for number in range(50):
        db.execute(
            "INSERT INTO edge_records (edge_id, entity, relation, target, confidence, logit, source) "
            "VALUES (?, 'a', ?, 'b', 0.5, 10.0, 'probe')",
            (number + 2_000_000, f"relation {number}"),
        )
        db.execute("INSERT INTO edge_evidence VALUES (?, 1, 1, 0, 0, 1.0, 1)", (number + 2_000_000,))
    whole = page(db)
    db.close()
    assert len(list(section(whole, "places").iter(f"{SVG}svg"))) == 40
    assert "13 more are left out" in texts(section(whole, "places"))


@pytest.mark.parametrize(
    ("count", "ticks"), [(1, [0]), (5, [0, 1, 2, 3, 4]), (30, [0, 5, 10, 15, 20, 25]), (80, [0, 20, 40, 60])]
)
def test_axes_have_a_few_ticks(count: int, ticks: list[int]) -> None:
    assert report_charts.tick_places(count) == ticks
