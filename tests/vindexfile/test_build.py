"""Building: what the statements say, in one clean file, the same bytes again, and nothing done twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import larqldb
from larqldb.errors import (
    BadVindexfile,
    BuildFailed,
    CannotCompile,
    MissingPart,
    OutputExists,
    OutputFailed,
    ProgrammingError,
)
from larqldb.storage import edits
from larqldb.storage.checksums import verify
from larqldb.storage.database import open_database
from larqldb.storage.edits import Operation
from larqldb.vindexfile.build import build
from larqldb.vindexfile.cache import WORK, Cache
from tests.tiny import write_tiny

ROOT = Path(__file__).resolve().parents[2]
IDS = [1, 2, 3, 9]
DELETE = "DELETE WHERE layer = 1 AND feature = 4\n"
INSERT = 'INSERT ("Atlantis", "capital", "Paris")\n'


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture
def place(tmp_path, tiny_extracted):
    """A folder with a model, a vindex of it, a patch and a table of facts."""
    folder = tmp_path / "place"
    write_tiny(folder / "model")
    shutil.copy(tiny_extracted, folder / "base.vindex")
    (folder / "rulers.tsv").write_text("# relation: ruler\n# wording: {entity} is ruled by\nFrance\tParis\n")
    with closing(larqldb.connect(shutil.copy(tiny_extracted, tmp_path / "other.vindex"))) as connection:
        network, rng = connection.session.network, np.random.default_rng(1)
        vectors = [rng.standard_normal(network.hidden).astype(np.float32) for _ in range(3)]
        edits.add_patch(connection.database, "tales", connection.session.model["fingerprint"])
        fact = {"entity": "Gondor", "relation": "capital", "target": "Rome", "probability": 0.75}
        made = dict(zip(("gate", "up", "down"), vectors, strict=True))
        edits.write(connection.database, "tales", [Operation("insert", layer=2, feature=67, **fact, **made)])
        edits.show(connection.database)
        connection.execute(f"SAVE PATCH '{folder / 'myths.vlp'}'")
    return folder


def say(place, text):
    (place / "Vindexfile").write_text(text)
    return place


def logits(path):
    with closing(larqldb.connect(path, read_only=True)) as connection:
        return connection.session.runner.all_logits(IDS)


def rows(path, query):
    with closing(larqldb.connect(path, read_only=True)) as connection:
        return connection.execute(query).fetchall()


def cached(report):
    return [row.cached for row in report.rows]


def test_what_the_statements_say(place, cache, tmp_path):
    say(
        place,
        f"FROM base.vindex\nRELATIONS capital, rulers.tsv\nPATCH myths.vlp\n{INSERT}{DELETE}",
    )
    report = build(place, tmp_path / "out.vindex", cache=cache)
    out = tmp_path / "out.vindex"
    assert report.bytes == out.stat().st_size
    assert [row.line for row in report.rows] == [1, 2, 3, 4, 5]
    assert report.rows[0].result == "llama, 5 layers of 67 features"
    assert report.rows[2].result == "1 operations"
    assert report.rows[3].result.startswith("Atlantis capital Paris")
    assert report.rows[4].result == "layer 1 feature 4"
    edges = rows(out, "SELECT entity, target FROM edges WHERE source = 'compiled' ORDER BY 1")
    assert edges == [("Atlantis", "Paris"), ("Gondor", "Rome")]
    assert rows(out, "SHOW PATCHES") == []
    assert rows(out, "SELECT relation, template FROM relation_templates WHERE relation = 'ruler'") == [
        ("ruler", "{entity} is ruled by")
    ]
    assert rows(out, "SELECT count(*) FROM facts WHERE relation = 'capital'")[0][0] > 100
    with closing(open_database(out, read_only=True)) as db:
        assert list(verify(db)) == []
    work = shutil.copy(place / "base.vindex", tmp_path / "by_hand.vindex")
    with closing(larqldb.connect(work)) as connection:
        for pack in ("capital",):
            wordings = rows(out, f"SELECT relation, template FROM relation_templates WHERE relation = '{pack}'")
            connection.execute("INSERT INTO relations VALUES (?, NULL, NULL)", (pack,))
            connection.executemany("INSERT INTO relation_templates VALUES (?, ?)", wordings)
        connection.execute(f"APPLY PATCH '{place / 'myths.vlp'}'")
        connection.execute("INSERT INTO EDGES (entity, relation, target) VALUES ('Atlantis', 'capital', 'Paris')")
        connection.execute("DELETE FROM EDGES WHERE layer = 1 AND feature = 4")
        assert np.abs(connection.session.runner.all_logits(IDS) - logits(out)).max() < 1e-4


def test_a_model_is_extracted_once(place, cache, tmp_path):
    say(place, "FROM model\n")
    build(place, tmp_path / "one.vindex", cache=cache)
    say(place, "FROM model\nDELETE WHERE layer = 1 AND feature = 4\n")
    second = build(place, tmp_path / "two.vindex", cache=cache)
    assert cached(second) == [1, 0]
    assert np.array_equal(logits(tmp_path / "one.vindex"), logits(place / "base.vindex"))
    assert dict(rows(tmp_path / "one.vindex", "STATS"))["source"] == "model"
    (place / "model" / "config.json").write_text((place / "model" / "config.json").read_text() + "\n")
    assert cached(build(place, tmp_path / "three.vindex", cache=cache)) == [0, 0]


def test_what_was_built_is_not_built_again(place, cache, tmp_path):
    say(place, f"FROM base.vindex\nPATCH myths.vlp\n{INSERT}")
    first = build(place, tmp_path / "one.vindex", cache=cache)
    second = build(place, tmp_path / "two.vindex", cache=cache)
    assert (cached(first), cached(second)) == ([1, 0, 0], [1, 1, 1])
    assert (tmp_path / "one.vindex").read_bytes() == (tmp_path / "two.vindex").read_bytes()
    say(place, f"# said once more\nFROM base.vindex\nPATCH myths.vlp\n{INSERT}DELETE WHERE layer = 1 AND feature = 4\n")
    third = build(place, tmp_path / "three.vindex", cache=cache)
    assert cached(third) == [1, 0, 1, 0]
    afresh = build(place, tmp_path / "four.vindex", cache=Cache(tmp_path / "another"))
    assert cached(afresh) == [1, 0, 0, 0]
    assert (tmp_path / "three.vindex").read_bytes() == (tmp_path / "four.vindex").read_bytes()


def test_what_stands_before_a_statement_counts(place, cache, tmp_path):
    say(place, f"FROM base.vindex\n{INSERT}")
    build(place, tmp_path / "one.vindex", cache=cache)
    say(place, f"FROM base.vindex\nRELATIONS capital\n{INSERT}")
    assert cached(build(place, tmp_path / "two.vindex", cache=cache)) == [1, 0, 0]


def test_a_patch_is_known_by_its_content(place, cache, tmp_path):
    say(place, "FROM base.vindex\nPATCH myths.vlp\n")
    build(place, tmp_path / "one.vindex", cache=cache)
    shutil.copy(place / "myths.vlp", place / "moved.vlp")
    say(place, "FROM base.vindex\nPATCH moved.vlp\n")
    build(place, tmp_path / "two.vindex", cache=cache)
    assert np.array_equal(logits(tmp_path / "one.vindex"), logits(tmp_path / "two.vindex"))
    with closing(larqldb.connect(tmp_path / "other.vindex")) as connection:
        connection.execute("UPDATE patch_ops SET target = 'Berlin'")
        connection.execute(f"SAVE PATCH '{place / 'moved.vlp'}'")
    build(place, tmp_path / "three.vindex", cache=cache)
    assert rows(tmp_path / "three.vindex", "SELECT target FROM edges WHERE entity = 'Gondor'") == [("Berlin",)]


def test_damage_in_the_cache_is_noticed(place, cache, tmp_path):
    say(place, f"FROM model\n{INSERT}")
    build(place, tmp_path / "one.vindex", cache=cache)
    for path in cache.folder.iterdir():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    again = build(place, tmp_path / "two.vindex", cache=cache)
    assert cached(again) == [0, 0]
    assert (tmp_path / "one.vindex").read_bytes() == (tmp_path / "two.vindex").read_bytes()


BUILD = """
import sys
from larqldb.vindexfile.build import build, Cache
build(sys.argv[1], sys.argv[2], cache=Cache(sys.argv[3]))
"""


def test_the_same_bytes_in_another_folder_at_another_time(place, tmp_path):
    edits = f"PATCH myths.vlp\n{INSERT}DELETE WHERE layer = 1 AND feature = 4\n"
    say(place, f"FROM model\nRELATIONS capital, rulers.tsv\n{edits}")
    moved = shutil.copytree(place, tmp_path / "elsewhere" / "deep")
    outputs = []
    for number, folder in enumerate((place, moved)):
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(number + 1), "TZ": f"UTC+{number * 5}",
        }  # fmt: skip
        outputs.append(tmp_path / f"out{number}.vindex")
        arguments = [str(folder), str(outputs[-1]), str(tmp_path / f"cache{number}")]
        subprocess.run([sys.executable, "-c", BUILD, *arguments], env=environment, cwd=folder, check=True)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert str(tmp_path).encode() not in outputs[0].read_bytes()
    assert rows(outputs[0], "SELECT DISTINCT applied_at FROM migrations") == [("1970-01-01T00:00:00+00:00",)]


def test_the_time_that_was_asked_for(place, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    build(say(place, "FROM base.vindex"), tmp_path / "out.vindex", cache=cache)
    assert rows(tmp_path / "out.vindex", "SELECT DISTINCT applied_at FROM migrations") == [
        ("1970-01-02T00:00:00+00:00",)
    ]


def test_stages(place, cache, tmp_path):
    say(place, f"FROM base.vindex\nEXPOSE inference\nSTAGE dev\n{INSERT}STAGE lite\nPATCH myths.vlp\nEXPOSE browse\n")
    found = {}
    for stage in (None, "dev", "lite"):
        path = tmp_path / f"{stage}.vindex"
        build(place / "Vindexfile", path, stage=stage, cache=cache)
        model = dict(rows(path, "STATS"))
        found[stage] = (model["level"], rows(path, "SELECT entity FROM edges WHERE source = 'compiled'"))
    assert found == {
        None: ("inference", []),
        "dev": ("inference", [("Atlantis",)]),
        "lite": ("browse", [("Gondor",)]),
    }
    with pytest.raises(MissingPart, match="EXPOSE all in its Vindexfile"):
        rows(tmp_path / "lite.vindex", 'INFER "x"')
    with pytest.raises(ProgrammingError, match=r"no stage 'lit'\. Did you mean lite"):
        build(place, tmp_path / "no.vindex", stage="lit", cache=cache)


def test_the_later_of_two_that_contradict_each_other_counts(place, cache, tmp_path):
    say(place, 'FROM base.vindex\nPATCH myths.vlp\nINSERT ("Gondor", "capital", "Paris")\n')
    report = build(place, tmp_path / "out.vindex", cache=cache)
    assert rows(tmp_path / "out.vindex", "SELECT target FROM edges WHERE entity = 'Gondor'") == [("Paris",)]
    assert report.rows[-1].result.startswith("Gondor capital Paris (patch step 2) counts")


def test_deleting_what_an_earlier_statement_inserted(place, cache, tmp_path):
    say(place, 'FROM base.vindex\nPATCH myths.vlp\nDELETE ("Gondor", "capital", "Rome")\n')
    for name in ("one", "two"):
        build(place, tmp_path / f"{name}.vindex", cache=cache)
        assert np.array_equal(logits(tmp_path / f"{name}.vindex"), logits(place / "base.vindex"))


def test_the_edits_of_a_base_are_kept(place, cache, tmp_path):
    with closing(larqldb.connect(place / "base.vindex")) as connection:
        connection.execute(f"APPLY PATCH '{place / 'myths.vlp'}'")
        connection.commit()
        expected = connection.session.runner.all_logits(IDS)
    before = (place / "base.vindex").read_bytes()
    build(say(place, "FROM base.vindex"), tmp_path / "out.vindex", cache=cache)
    assert np.abs(logits(tmp_path / "out.vindex") - expected).max() < 1e-4
    assert (place / "base.vindex").read_bytes() == before


def test_patches_of_one_name_in_two_folders(place, cache, tmp_path):
    (place / "more").mkdir()
    with closing(larqldb.connect(tmp_path / "other.vindex")) as connection:
        connection.execute("UPDATE patch_ops SET entity = 'Narnia', feature = 90")
        connection.execute(f"SAVE PATCH '{place / 'more' / 'myths.vlp'}'")
    with closing(larqldb.connect(place / "base.vindex")) as connection:  # one out of effect is none of the base
        connection.execute(f"APPLY PATCH '{place / 'more' / 'myths.vlp'}'")
        connection.execute("REMOVE PATCH 'myths.vlp'")
        connection.commit()
    say(place, "FROM base.vindex\nPATCH myths.vlp\nPATCH more/myths.vlp")
    build(place, tmp_path / "out.vindex", cache=cache)
    query = "SELECT entity FROM edges WHERE source = 'compiled' ORDER BY 1"
    assert rows(tmp_path / "out.vindex", query) == [("Gondor",), ("Narnia",)]
    with pytest.raises(BuildFailed, match=r"line 3.*(?s:.)*in effect already"):
        build(say(place, "FROM base.vindex\nPATCH myths.vlp\nPATCH myths.vlp"), tmp_path / "no.vindex", cache=cache)


def test_what_was_said_is_in_the_file(place, cache, tmp_path):
    build(say(place, "FROM base.vindex  # x\nexpose inference\n"), tmp_path / "out.vindex", cache=cache)
    assert dict(rows(tmp_path / "out.vindex", "STATS"))["vindexfile"] == 'FROM "base.vindex"\nEXPOSE inference'


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("FROM none.vindex", 1, "no model at none.vindex"),
        ("FROM hf://me/tiny/x.vindex", 1, "larqldb pull hf://me/tiny/x.vindex"),
        ("FROM rulers.tsv", 1, "rulers.tsv"),
        ("FROM base.vindex\n\nPATCH none.vlp", 3, "there is no file .*none.vlp"),
        ("FROM base.vindex\nPATCH rulers.tsv", 2, "no patch file"),
        ("FROM base.vindex\nRELATIONS capitol", 2, "there is no relation capitol. Did you mean capital"),
        ("FROM base.vindex\nRELATIONS none.tsv", 2, "there is no file .*none.tsv"),
        ("FROM base.vindex\nRELATIONS myths.vlp", 2, "UTF-8|zero byte|say which relation"),
        ('FROM base.vindex\nINSERT ("a", "capital", "a")', 2, "a"),
        ("FROM base.vindex\nDELETE WHERE noth = 1", 2, "noth"),
        ('FROM base.vindex\nINSERT ("a", "capital", "b") AT LAYER 99', 2, "99"),
    ],
)
def test_a_statement_that_cannot_be_carried_out(place, cache, tmp_path, text, line, message):
    with pytest.raises(BuildFailed, match=message) as failure:
        build(say(place, text), tmp_path / "no.vindex", cache=cache)
    assert failure.value.line == line
    assert str(failure.value).startswith(f"{place / 'Vindexfile'}, line {line}: ")
    assert not list(tmp_path.glob("*no.vindex*"))
    assert not list(cache.folder.glob(f"{WORK}*"))


def test_a_patch_of_another_base(place, cache, tmp_path):
    larqldb.extract(write_tiny(tmp_path / "m", seed=5), place / "second.vindex")
    with pytest.raises(BuildFailed, match=r"line 2: PATCH .*(?s:.)*made for another model"):
        build(say(place, "FROM second.vindex\nPATCH myths.vlp"), tmp_path / "no.vindex", cache=cache)


def test_a_base_of_a_lower_level(place, cache, tmp_path):
    larqldb.extract(place / "model", place / "low.vindex", level="inference")
    with pytest.raises(BuildFailed, match=r"line 1: FROM .*(?s:.)*--level all"):
        build(say(place, "FROM low.vindex"), tmp_path / "no.vindex", cache=cache)


def test_rows_that_are_looked_up(place, cache, tmp_path):
    with closing(larqldb.connect(tmp_path / "other.vindex")) as connection:
        connection.execute("UPDATE patch_ops SET operation = 'insert_knn', up = NULL, feature = NULL")
        connection.execute(f"SAVE PATCH '{place / 'rows.vlp'}'")
    with pytest.raises(CannotCompile, match="COMPACT MINOR"):
        build(say(place, "FROM base.vindex\nPATCH rows.vlp"), tmp_path / "no.vindex", cache=cache)


def test_what_is_not_begun(place, cache, tmp_path):
    with pytest.raises(ProgrammingError, match=r"there is no .*Vindexfile"):
        build(tmp_path, tmp_path / "no.vindex", cache=cache)
    say(place, "FROM base.vindex")
    (tmp_path / "there.vindex").write_text("mine")
    with pytest.raises(OutputExists):
        build(place, tmp_path / "there.vindex", cache=cache)
    with pytest.raises(OutputFailed, match="no folder"):
        build(place, tmp_path / "none" / "out.vindex", cache=cache)
    with pytest.raises(BadVindexfile, match="PACH"):
        build(say(place, "FROM x\nPACH y"), tmp_path / "no.vindex", cache=cache)
    (place / "Vindexfile").write_bytes(b"\xff\xfe")
    with pytest.raises(ProgrammingError, match="cannot be read"):
        build(place, tmp_path / "no.vindex", cache=cache)
    assert (tmp_path / "there.vindex").read_text() == "mine"
    assert not cache.folder.exists()


@pytest.mark.parametrize("where", ["larqldb.compile.vindex.carry", "shutil.copyfile"])
def test_an_interruption_and_a_full_disk_leave_nothing(place, cache, tmp_path, monkeypatch, where):
    say(place, "FROM base.vindex")
    for problem, expected in (
        (OSError(28, "No space left on device"), OutputFailed),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        with monkeypatch.context() as patch:

            def fail(*_, problem=problem):
                raise problem

            patch.setattr(where, fail)
            with pytest.raises(expected):
                build(place, tmp_path / "no.vindex", cache=cache)
        assert not list(tmp_path.glob("*no.vindex*"))
        assert not list(cache.folder.glob(f"{WORK}*"))
    build(place, tmp_path / "no.vindex", cache=cache)


def test_the_cache_stays_small(place, tmp_path):
    small = Cache(tmp_path / "cache", limit_gb=1 / (1 << 30))  # a byte
    for number in range(3):
        say(place, f"FROM base.vindex\nDELETE WHERE layer = 1 AND feature = {number}\n")
        build(place, tmp_path / f"{number}.vindex", cache=Cache(tmp_path / "cache", limit_gb=1 / (1 << 30)))
    assert len(list(small.folder.glob("*.vindex"))) == 1  # what the last build used
    (small.folder / f"{WORK}1-1").mkdir()
    os.utime(small.folder / f"{WORK}1-1", (0, 0))
    small.prune()
    assert list(small.folder.iterdir()) == []


def test_clearing(place, cache, tmp_path):
    build(say(place, "FROM base.vindex"), tmp_path / "out.vindex", cache=cache)
    size = sum(path.stat().st_size for path in cache.folder.iterdir())
    assert cache.clear() == size > 0
    assert not cache.folder.exists()
    assert cache.clear() == 0


def test_the_command(place, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from larqldb.cli.build import build as command

    def run(*arguments):
        return CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    say(place, "FROM base.vindex\nSTAGE lite\nEXPOSE browse\n")
    done = run(place, "--stage", "lite", "-o", tmp_path / "out.vindex", "--json")
    assert done.exit_code == 0
    told = json.loads(done.output)
    assert [row["statement"] for row in told] == ['FROM "base.vindex"', "EXPOSE browse", ""]
    assert told[-1]["result"] == str(tmp_path / "out.vindex")
    kept = list((tmp_path / "user" / "larqldb" / "build").iterdir())
    assert len(kept) == 1
    assert run(place, "-o", tmp_path / "two.vindex", "--no-cache").exit_code == 0
    assert list((tmp_path / "user" / "larqldb" / "build").iterdir()) == kept
    assert run("--clear-cache").exit_code == 0
    assert not (tmp_path / "user" / "larqldb" / "build").exists()
    assert "name the vindex to write" in run(place).output
