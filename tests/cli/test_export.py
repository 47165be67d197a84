import os
import stat
from pathlib import Path

import apsw
import pytest

from larqldb.cli.output import write_text
from larqldb.errors import OutputFailed

EDGES = [
    ("France", "capital", "Paris", 0.98, "probe"),
    ("France", "borders", "Spain", 0.25, "probe"),
    ("Zürich", "part of", "Schweiz", None, "user"),
]


@pytest.fixture
def known(tiny_vindex):
    """A vindex that knows three edges, and no others."""
    db = apsw.Connection(str(tiny_vindex))
    db.execute("DELETE FROM edge_records")
    db.executemany(
        "INSERT INTO edge_records (entity, relation, target, confidence, source) VALUES (?, ?, ?, ?, ?)", EDGES
    )
    db.close()
    return tiny_vindex


def entities(csv):
    return [line.split(",")[0] for line in csv.splitlines()[1:]]


def test_standard_output_without_a_file(larqldb, known):
    code, out, err = larqldb("export", known, "--format", "csv")
    assert (code, err) == (0, "")
    assert entities(out) == ["France", "France", "Zürich"]
    assert larqldb("export", known, "--format", "csv", "-o", "-").out == out


@pytest.mark.parametrize("form", ["turtle", "graphml", "csv", "jsonl"])
def test_a_file_holds_what_standard_output_shows(larqldb, known, tmp_path, form):
    path = tmp_path / "out" / "edges"
    path.parent.mkdir()
    assert larqldb("export", known, "--format", form, "-o", path) == (0, "", "")
    assert path.read_bytes().decode() == larqldb("export", known, "--format", form).out
    assert list(path.parent.iterdir()) == [path]


def test_options_choose(larqldb, known):
    def chosen(*options):
        return entities(larqldb("export", known, "--format", "csv", *options).out)

    assert chosen("--min-confidence", "0.5") == ["France"]
    assert chosen("--source", "user") == ["Zürich"]
    assert chosen("--relation", "part of", "--relation", "capital") == ["France", "Zürich"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "xml"), "'xml' is not one of 'turtle', 'graphml', 'csv', 'jsonl'"),
        ((), "Missing option '--format'"),
        (("--format", "csv", "--min-confidence", "2"), "2.0 is not in the range 0<=x<=1"),
        (("--format", "csv", "--relation", "captial"), "no edge has the relation 'captial'. Did you mean capital?"),
        (("--format", "csv", "--source", "zzz"), "no edge has the source 'zzz'. There are: probe, user"),
    ],
)
def test_wrong_usage_says_what_was_expected(larqldb, known, options, message):
    code, out, err = larqldb("export", known, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_a_vindex_is_not_written_over(larqldb, known):
    before = known.read_bytes()
    code, _, err = larqldb("export", known, "--format", "csv", "-o", known)
    assert (code, known.read_bytes()) == (2, before)
    assert f"{known.name} is a database" in err


def test_no_folder(larqldb, known, tmp_path):
    code, _, err = larqldb("export", known, "--format", "csv", "-o", tmp_path / "none" / "edges.csv")
    assert code == 1
    assert "could not write" in err
    assert "there is no folder" in err


# Writing


def test_what_is_there_is_replaced_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "edges"
    path.write_text("a longer text that was there before")
    path.chmod(0o640)
    write_text(["new ", "text é"], str(path))
    assert path.read_text(encoding="utf-8") == "new text é"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "edges"
    path.write_text("before")

    def pieces():
        yield "half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_text(pieces(), str(path))
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    def pieces():
        yield "half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputFailed, match="No space left on device"):
        write_text(pieces(), str(tmp_path / "edges"))
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path):
    path, link = tmp_path / "edges", tmp_path / "link"
    link.symlink_to(path)
    write_text(["text"], str(link))
    assert link.is_symlink()
    assert path.read_text() == "text"


def test_a_device_is_written_to(tmp_path):
    write_text(["text"], os.devnull)
    assert not Path(os.devnull).is_file()


def test_line_ends_are_not_translated(tmp_path):
    write_text(["a\nb\r\nc\r"], str(tmp_path / "edges"))
    assert (tmp_path / "edges").read_bytes() == b"a\nb\r\nc\r"
