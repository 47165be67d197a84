"""push and pull against a hub on this machine: resumed, skipped by checksum, checked, whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub.constants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import larqldb
from larqldb.compile.slices import write_slice
from larqldb.errors import (
    DamagedVindex,
    HubFailed,
    NotAVindex,
    OutputBusy,
    OutputExists,
    OutputFailed,
    ProgrammingError,
    SourceNotFound,
)
from larqldb.share.hub import Place, file_sha256, parse_place
from larqldb.share.pull import pull
from larqldb.share.push import push
from tests.share import fake_hub

# The hub's client hands bytes to httpx in a way that is going away there.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pushed(hub, tiny_vindex):
    """The tiny vindex, in the repository me/tiny."""
    push(tiny_vindex, "me/tiny")
    hub.requests.clear()
    return tiny_vindex


def partials(folder):
    return sorted(folder.glob(".*.pull"))


def test_there_and_back(hub, tiny_vindex, tmp_path):
    report = push(tiny_vindex, "hf://me/tiny", message="first")
    assert (report.file, report.bytes, report.sent) == ("tiny.vindex", tiny_vindex.stat().st_size, True)
    assert report.sha256 == hashlib.sha256(tiny_vindex.read_bytes()).hexdigest()
    back = pull("me/tiny", tmp_path / "back.vindex")
    assert (tmp_path / "back.vindex").read_bytes() == tiny_vindex.read_bytes()
    assert back.fetched == back.bytes == report.bytes
    assert partials(tmp_path) == []
    with closing(larqldb.connect(tmp_path / "back.vindex")) as connection:
        assert len(connection.execute('INFER "The" TOP 2').fetchall()) == 2


def test_what_is_there_is_not_sent_again(hub, pushed):
    assert push(pushed, "me/tiny").sent is False
    assert hub.count("POST", "/commit/") == hub.count("PUT", "/lfs/") == hub.count("POST", "/batch") == 0
    assert hub.repositories["me/tiny"].commits == 1


def test_a_file_under_another_name_is_committed_but_not_sent_again(hub, pushed):
    assert push(pushed, "me/tiny/other.vindex").sent is True
    assert (hub.count("PUT", "/lfs/"), hub.count("POST", "/commit/")) == (0, 1)


def test_a_push_that_failed_at_the_commit_sends_nothing_twice(hub, tiny_vindex):
    hub.fail["/commit/"] = 500
    with pytest.raises(HubFailed, match=r"answered 500.*not sent again"):
        push(tiny_vindex, "me/tiny")
    assert hub.count("PUT", "/lfs/") == 1
    hub.fail.clear()
    push(tiny_vindex, "me/tiny")
    assert hub.count("PUT", "/lfs/") == 1
    assert hub.repositories["me/tiny"].files["tiny.vindex"][1] == tiny_vindex.read_bytes()


def test_in_parts(hub, tiny_vindex):
    hub.part = 300_000
    push(tiny_vindex, "me/tiny")
    assert hub.count("PUT", "/part/") == -(-tiny_vindex.stat().st_size // 300_000)
    assert hub.repositories["me/tiny"].files["tiny.vindex"][1] == tiny_vindex.read_bytes()


def test_a_small_file_is_no_large_file(hub, tiny_vindex, tmp_path):
    hub.threshold = 1 << 30
    push(tiny_vindex, "me/tiny")
    assert hub.repositories["me/tiny"].files["tiny.vindex"][0] == "regular"
    assert push(tiny_vindex, "me/tiny").sent is False
    pull("me/tiny", tmp_path / "back.vindex")
    assert (tmp_path / "back.vindex").read_bytes() == tiny_vindex.read_bytes()


def test_the_page_of_a_new_repository(hub, tiny_vindex, tmp_path):
    write_slice(tiny_vindex, tmp_path / "small.vindex", ["browse"])
    push(tmp_path / "small.vindex", "me/tiny")
    page = hub.repositories["me/tiny"].files["README.md"][1].decode()
    assert "larqldb pull me/tiny/small.vindex" in page
    assert "knowledge, features, gates, embeddings, edits" in page
    assert "license:" not in page
    hub.repositories["me/tiny"].files["README.md"] = ("regular", b"mine")
    push(tiny_vindex, "me/tiny")
    assert hub.repositories["me/tiny"].files["README.md"][1] == b"mine"


def test_private_where_it_is_made(hub, tiny_vindex):
    push(tiny_vindex, "me/tiny", private=True)
    assert hub.repositories["me/tiny"].private is True


def test_an_interrupted_pull_goes_on(hub, pushed, tmp_path):
    hub.cut_after = 400_000
    with pytest.raises(HubFailed, match=r"answered 500.*goes on from there"):
        pull("me/tiny", tmp_path / "back.vindex")
    (partial,) = partials(tmp_path)
    assert partial.read_bytes() == pushed.read_bytes()[:400_000]
    assert not (tmp_path / "back.vindex").exists()
    hub.cut_after = None
    hub.fail.clear()
    hub.requests.clear()
    report = pull("me/tiny", tmp_path / "back.vindex")
    assert [asked for _, path, asked in hub.requests if "/cdn/" in path] == ["bytes=400000-"]
    assert report.fetched == report.bytes - 400_000
    assert (tmp_path / "back.vindex").read_bytes() == pushed.read_bytes()
    assert partials(tmp_path) == []


def test_a_connection_that_breaks_is_taken_up_again_at_once(hub, pushed, tmp_path, monkeypatch):
    hub.cut_after = 1_000_000
    monkeypatch.setattr("time.sleep", lambda _: hub.fail.clear())
    pull("me/tiny", tmp_path / "back.vindex")
    assert hub.count("GET", "/cdn/") == 2
    assert (tmp_path / "back.vindex").read_bytes() == pushed.read_bytes()


def test_a_server_without_ranges(hub, pushed, tmp_path):
    hub.cut_after, hub.ignores_ranges = 400_000, True
    with pytest.raises(HubFailed):
        pull("me/tiny", tmp_path / "back.vindex")
    hub.cut_after = None
    hub.fail.clear()
    pull("me/tiny", tmp_path / "back.vindex")
    assert (tmp_path / "back.vindex").read_bytes() == pushed.read_bytes()


def test_what_an_interrupted_pull_left_of_another_version_is_not_used(hub, pushed, tmp_path):
    hub.cut_after = 400_000
    with pytest.raises(HubFailed):
        pull("me/tiny", tmp_path / "back.vindex")
    hub.cut_after = None
    hub.fail.clear()
    write_slice(pushed, tmp_path / "tiny2.vindex", ["browse"])
    push(tmp_path / "tiny2.vindex", "me/tiny/tiny.vindex")
    pull("me/tiny", tmp_path / "back.vindex")
    assert (tmp_path / "back.vindex").read_bytes() == (tmp_path / "tiny2.vindex").read_bytes()


def test_a_leftover_longer_than_the_file(hub, pushed, tmp_path):
    sha256 = file_sha256(pushed)
    (tmp_path / f".back.vindex.{sha256[:16]}.pull").write_bytes(b"x" * (pushed.stat().st_size + 5))
    pull("me/tiny", tmp_path / "back.vindex")
    assert (tmp_path / "back.vindex").read_bytes() == pushed.read_bytes()


def test_a_file_that_is_there_and_the_same_is_left_alone(hub, pushed, tmp_path):
    shutil.copy(pushed, tmp_path / "back.vindex")
    assert pull("me/tiny", tmp_path / "back.vindex").fetched == 0
    assert hub.count("GET", "/cdn/") == 0


def test_another_file_there_stays(hub, pushed, tmp_path):
    (tmp_path / "back.vindex").write_text("mine")
    with pytest.raises(OutputExists):
        pull("me/tiny", tmp_path / "back.vindex")
    assert (tmp_path / "back.vindex").read_text() == "mine"


def test_the_files_own_name_in_this_folder(hub, pushed, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert pull("me/tiny").path == "tiny.vindex"
    assert os.listdir() == ["tiny.vindex"]


def test_bytes_that_changed_on_the_way_are_refused(hub, pushed, tmp_path):
    hub.flip = True
    with pytest.raises(HubFailed, match="checksum"):
        pull("me/tiny", tmp_path / "back.vindex")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.vindex"]


@pytest.mark.parametrize("damage", ["text", "flipped"])
def test_a_file_that_is_no_sound_vindex_is_refused(hub, pushed, tmp_path, damage):
    data = bytearray(pushed.read_bytes())
    data[len(data) // 2] ^= 1
    content = b"not a database" * 200 if damage == "text" else bytes(data)
    hub.repositories["me/tiny"].files["tiny.vindex"] = ("lfs", content)
    with pytest.raises(HubFailed, match="damaged"):
        pull("me/tiny", tmp_path / "back.vindex")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.vindex"]


def test_a_full_disk(hub, pushed, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("larqldb.share.pull._Counting.write", full)
    with pytest.raises(OutputFailed, match="No space left"):
        pull("me/tiny", tmp_path / "back.vindex")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.vindex"]


def test_too_little_room_is_said_before_anything_is_fetched(hub, pushed, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(OutputFailed, match="1 are free"):
        pull("me/tiny", tmp_path / "back.vindex")
    assert hub.count("GET", "/cdn/") == 0


def test_two_pulls_of_one_file(hub, pushed, tmp_path):
    import fcntl

    partial = tmp_path / f".back.vindex.{file_sha256(pushed)[:16]}.pull"
    with open(partial, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputBusy):
            pull("me/tiny", tmp_path / "back.vindex")
    assert pull("me/tiny", tmp_path / "back.vindex").fetched > 0


def test_no_token(hub, tiny_vindex, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubFailed, match="hf auth login, or set HF_TOKEN"):
        push(tiny_vindex, "me/tiny")
    assert hub.requests == []


def test_a_token_that_is_not_right(hub, tiny_vindex, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(HubFailed, match="wants a token"):
        push(tiny_vindex, "me/tiny")


def test_a_repository_of_others(hub, pushed, monkeypatch):
    hub.fail["/preupload/"] = 403
    with pytest.raises(HubFailed, match="may not do this"):
        push(pushed, "me/tiny/second.vindex")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("me/none", "no such repository"),
        ("me/tiny@v9", "no revision v9"),
        ("me/tiny/tinny.vindex", r"no file tinny\.vindex in it\. It has tiny\.vindex"),
        ("me/empty", "holds no vindex. A model there can be extracted: larqldb extract me/empty"),
        ("me/two", r"several vindexes: a\.vindex, b\.vindex\. Name one: larqldb pull me/two/a\.vindex"),
    ],
)
def test_what_is_not_there(hub, pushed, tmp_path, source, message):
    content = ("lfs", pushed.read_bytes())
    hub.repositories["me/empty"] = fake_hub.Repository(False, {"model.safetensors": content})
    hub.repositories["me/two"] = fake_hub.Repository(False, {"a.vindex": content, "b.vindex": content})
    with pytest.raises(HubFailed, match=message):
        pull(source, tmp_path / "back.vindex")


def test_of_several_the_one_named_like_the_repository(hub, pushed, tmp_path):
    hub.repositories["me/two"] = fake_hub.Repository(
        False, {"two.vindex": ("lfs", pushed.read_bytes()), "b.vindex": ("lfs", b"")}
    )
    assert pull("me/two", tmp_path / "back.vindex").origin.endswith("/two.vindex")
    assert pull("me/two/two", tmp_path / "again.vindex").origin.endswith("/two.vindex")


def test_a_private_repository(hub, pushed, tmp_path, monkeypatch):
    hub.repositories["me/tiny"].private = True
    pull("me/tiny", tmp_path / "mine.vindex")
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(HubFailed, match="no such repository, or you may not see it"):
        pull("me/tiny", tmp_path / "theirs.vindex")


def test_no_network(tiny_vindex, tmp_path, hub, monkeypatch):
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        value = getattr(huggingface_hub.constants, name).replace(hub.url, "http://127.0.0.1:1")
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    with pytest.raises(HubFailed, match="cannot be reached"):
        pull("me/tiny", tmp_path / "back.vindex")
    with pytest.raises(HubFailed, match="cannot be reached"):
        push(tiny_vindex, "me/tiny")


def test_what_cannot_be_pushed(hub, tiny_vindex, tmp_path):
    (tmp_path / "text.vindex").write_text("no vindex")
    with pytest.raises(NotAVindex):
        push(tmp_path / "text.vindex", "me/tiny")
    with pytest.raises(SourceNotFound):
        push(tmp_path / "none.vindex", "me/tiny")
    data = bytearray(tiny_vindex.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.vindex").write_bytes(data)
    with pytest.raises(DamagedVindex):
        push(tmp_path / "damaged.vindex", "me/tiny")
    with pytest.raises(ProgrammingError, match="main branch"):
        push(tiny_vindex, "me/tiny@v1")
    assert hub.requests == []


@pytest.mark.parametrize("text", ["", "tiny", "a/b/", "me/ti ny", "hf://", "me//tiny", "/me/tiny", "me/tiny@"])
def test_no_place(text):
    with pytest.raises(ProgrammingError, match="names no repository"):
        parse_place(text)


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,8}", fullmatch=True)


@settings(deadline=None)
@given(NAMES, NAMES, st.none() | NAMES, st.none() | st.from_regex(r"[a-z][a-z/.]{0,9}", fullmatch=True), st.booleans())
def test_places_read_the_same_again(org, name, revision, file, scheme):
    place = Place(f"{org}/{name}", revision, file)
    assert parse_place(f"{'hf://' if scheme else ''}{place}") == place


def test_the_commands_in_a_process_of_their_own(hub, tiny_vindex, tmp_path):
    def run(*arguments):
        environment = {
            **os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": fake_hub.TOKEN, "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        command = [sys.executable, "-m", "larqldb", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    sent = run("push", tiny_vindex, "me/tiny", "--json")
    assert (sent.returncode, sent.stderr) == (0, "")
    url = f"{hub.url}/me/tiny/blob/main/tiny.vindex"
    size = tiny_vindex.stat().st_size
    assert json.loads(sent.stdout) == [{"what": "vindex", "where": url, "how_many": 1, "bytes": size}]
    got = run("pull", "me/tiny", "-o", "back.vindex", "--json")
    assert (got.returncode, got.stderr) == (0, "")
    assert json.loads(got.stdout)[0] == {"what": "vindex", "where": "back.vindex", "how_many": 1, "bytes": size}
    assert (tmp_path / "back.vindex").read_bytes() == tiny_vindex.read_bytes()
    wrong = run("pull", "me/none")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("Error: me/none: there is no such repository")
    assert httpx.get(f"{hub.url}/nothing").status_code == 404
