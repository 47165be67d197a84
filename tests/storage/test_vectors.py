from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import numpy as np
import pytest

from larqldb.errors import MissingPart, OutputFailed
from larqldb.functions import register
from larqldb.functions.session import Session
from larqldb.storage.database import fetch, open_database
from larqldb.storage.vectors import LEFTOVER_SECONDS, VectorIndex, largest_norm, load_extension

NEAREST = "SELECT feature, distance FROM vec.{} WHERE vector MATCH ? AND layer = ? AND k = ?"


@pytest.fixture
def opened() -> Iterator[Callable[..., Session]]:
    """Opens sessions and closes their databases."""
    sessions: list[Session] = []

    def open_(path: Path | str, *, read_only: bool = False) -> Session:
        db = open_database(path, read_only=read_only)
        sessions.append(Session(db))
        register(db, sessions[-1])
        return sessions[-1]

    yield open_
    for session in sessions:
        session.db.close(True)


def ask(session: Session, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Run a statement, as a cursor does: again when the schema it asked for has been provided."""
    try:
        return fetch(session.db, sql, parameters)
    except apsw.SQLError as problem:
        if not session.vectors.provide(str(problem)):
            raise
    return fetch(session.db, sql, parameters)


def index_of(path: Path) -> Path:
    return path.with_name(path.name + "-vec")


@pytest.mark.parametrize("table", ["gates", "downs"])
@pytest.mark.parametrize("k", [1, 10, 67, 4096])
def test_the_nearest_are_those_with_the_largest_inner_product(
    tiny_vindex: Path, opened: Callable[..., Session], table: str, k: int
) -> None:
    session = opened(tiny_vindex)
    q = np.random.default_rng(0).standard_normal(40).astype(np.float32)
    for layer in session.layers:
        matrix = session.matrix(table[:-1], layer).astype(np.float64)
        scores = matrix @ q.astype(np.float64)
        found = ask(session, NEAREST.format(table), (np.append(q, np.float32(0)).tobytes(), layer, k))
        assert [feature for feature, _ in found] == np.argsort(-scores)[:k].tolist()
        ((bound,),) = fetch(session.db, "SELECT bound FROM vec.bounds WHERE vectors = ? AND layer = ?", (table, layer))
        assert bound == pytest.approx(np.linalg.norm(matrix, axis=1).max())
        for feature, distance in found:
            assert (float(q @ q) + bound**2 - distance**2) / 2 == pytest.approx(scores[feature], abs=1e-4)


def test_users_own_sql(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    session = opened(tiny_vindex)
    near = ask(session, NEAREST.format("gates").replace("?", "gate_query('Paris', 3)", 1), (3, 5))
    match = fetch(session.db, "SELECT feature, distance FROM gate_match('Paris', 5, 3)")
    assert [feature for feature, _ in near] == [feature for feature, _ in match]
    assert [distance for _, distance in near] == pytest.approx([distance for _, distance in match], rel=1e-5)
    joined = ask(
        session,
        "SELECT f.token FROM vec.downs AS d JOIN features AS f USING (layer, feature) "
        "WHERE d.vector MATCH down_query('Paris') AND k = 4 AND d.layer = 1",
    )
    assert len(joined) == 4
    assert fetch(session.db, "SELECT gate_query(NULL), gate_query(NULL, 1), down_query(NULL)") == [(None,) * 3]
    vector = np.arange(40, dtype=np.float32).tobytes()
    assert fetch(session.db, "SELECT gate_query(?), down_query(?)", (vector, vector)) == [(vector + b"\0" * 4,) * 2]
    assert fetch(session.db, "SELECT vec_length(gate_query('Paris', 0))") == [(41,)]
    assert ask(session, "SELECT count(*) FROM vec.gates") == [(5 * 67,)]


def test_reading_and_searching_make_no_file(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    session = opened(tiny_vindex)
    for sql in (
        "SELECT * FROM features",
        "SELECT * FROM gate_match('Paris', 3)",
        "SELECT * FROM down_match('Paris', 3)",
        "SELECT count(*) FROM describe('Paris')",
        "SELECT gate_query('Paris', 2)",
        "SELECT vec_version()",
    ):
        assert fetch(session.db, sql)
    assert os.listdir(tiny_vindex.parent) == [tiny_vindex.name]


def test_it_is_built_once_and_used_again(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    assert ask(opened(tiny_vindex), "SELECT count(*) FROM vec.gates") == [(335,)]
    built = index_of(tiny_vindex).stat()
    assert sorted(os.listdir(tiny_vindex.parent)) == [tiny_vindex.name, index_of(tiny_vindex).name]
    assert ask(opened(tiny_vindex), "SELECT count(*) FROM vec.downs") == [(335,)]
    assert ask(opened(tiny_vindex, read_only=True), "SELECT count(*) FROM vec.bounds") == [(10,)]
    again = index_of(tiny_vindex).stat()
    assert (built.st_ino, built.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(np.float32(0).tobytes() * 8, len(data) // 2)
    data[at] ^= 1
    path.write_bytes(data)


def _other_model(path: Path) -> None:
    db = apsw.Connection(os.fspath(path))
    db.execute('UPDATE stamp SET stamp = replace(stamp, \'"fingerprint": "\', \'"fingerprint": "0\')')
    db.close()


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _flip,
        _other_model,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database " * 4096),
        Path.unlink,
    ],
    ids=["truncated", "a bit flipped", "another model's", "empty", "something else", "missing"],
)
def test_it_is_built_again_where_it_is_of_no_use(
    tiny_vindex: Path, opened: Callable[..., Session], damage: Callable[[Path], object]
) -> None:
    q = np.append(np.random.default_rng(0).standard_normal(40), 0).astype(np.float32).tobytes()
    with_good = opened(tiny_vindex)
    expected = ask(with_good, NEAREST.format("gates"), (q, 2, 20))
    with_good.db.close(True)
    damage(index_of(tiny_vindex))
    assert ask(opened(tiny_vindex), NEAREST.format("gates"), (q, 2, 20)) == expected
    kept = index_of(tiny_vindex).stat().st_ino
    assert ask(opened(tiny_vindex), NEAREST.format("gates"), (q, 2, 20)) == expected
    assert index_of(tiny_vindex).stat().st_ino == kept


def test_a_read_only_connection_writes_nothing(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    session = opened(tiny_vindex, read_only=True)
    assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]
    assert os.listdir(tiny_vindex.parent) == [tiny_vindex.name]
    assert session.db.db_filename("vec") == ""


def test_a_folder_that_cannot_be_written_gets_none(
    tiny_vindex: Path, opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(tiny_vindex)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as root every folder can be written
    assert ask(session, "SELECT count(*) FROM vec.downs") == [(335,)]
    assert os.listdir(tiny_vindex.parent) == [tiny_vindex.name]


def test_inside_a_transaction_that_is_rolled_back(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    for read_only in (False, True):
        session = opened(tiny_vindex, read_only=read_only)
        session.db.execute("BEGIN")
        fetch(session.db, "SELECT count(*) FROM features")
        assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]
        session.db.execute("ROLLBACK")
        assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]


def test_a_schema_of_the_users_own_is_left_alone(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    session = opened(tiny_vindex)
    session.db.execute("ATTACH ':memory:' AS vec")
    with pytest.raises(apsw.SQLError, match=r"no such table: vec\.gates"):
        ask(session, "SELECT * FROM vec.gates")


def test_it_comes_back_after_a_detach(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    session = opened(tiny_vindex)
    assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]
    session.db.execute("DETACH vec")
    assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]


@pytest.mark.parametrize("sql", ["SELECT * FROM vec.gate", "SELECT * FROM nowhere", "SELECT * FROM main.gates"])
def test_other_names_stay_unknown(tiny_vindex: Path, opened: Callable[..., Session], sql: str) -> None:
    with pytest.raises(apsw.SQLError, match="no such table"):
        ask(opened(tiny_vindex), sql)
    assert not index_of(tiny_vindex).exists()


def test_without_a_model_it_says_so(opened: Callable[..., Session]) -> None:
    with pytest.raises(MissingPart, match="vec needs a model"):
        ask(opened(":memory:"), "SELECT * FROM vec.gates")


def test_without_down_vectors_it_names_them(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    session = opened(tiny_vindex)
    session.db.execute("UPDATE tensors SET storage = 'absent' WHERE role = 'down'")
    with pytest.raises(MissingPart, match=r"vec\.downs needs the down vectors"):
        ask(session, "SELECT * FROM vec.downs")
    assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]


@pytest.mark.parametrize("problem", [KeyboardInterrupt, apsw.FullError])
def test_a_build_that_fails_leaves_nothing(
    tiny_vindex: Path, opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, problem: type[BaseException]
) -> None:
    session = opened(tiny_vindex)

    def failing(matrix: object) -> float:
        raise problem("half way")

    monkeypatch.setattr("larqldb.storage.vectors.largest_norm", failing)
    with pytest.raises(OutputFailed if problem is apsw.FullError else problem, match="half way"):
        ask(session, "SELECT * FROM vec.gates")
    assert os.listdir(tiny_vindex.parent) == [tiny_vindex.name]
    monkeypatch.undo()
    assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]


def test_what_killed_processes_left_is_removed_when_old(tiny_vindex: Path, opened: Callable[..., Session]) -> None:
    names = [f".{index_of(tiny_vindex).name}.{digit * 16}.partial" for digit in "ab"]
    old, young = (tiny_vindex.with_name(name) for name in names)
    for path in (old, young):
        path.write_bytes(b"half")
    long_ago = time.time() - LEFTOVER_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    ask(opened(tiny_vindex), "SELECT * FROM vec.gates")
    assert not old.exists()
    assert young.exists()


def test_two_processes_build_at_once(tiny_vindex: Path) -> None:
    code = (
        "import sys; from larqldb.storage.database import open_database\n"
        "from larqldb.storage.vectors import VectorIndex\n"
        "db = open_database(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "VectorIndex(db).attach(); print(db.execute('SELECT count(*) FROM vec.gates').get)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tiny_vindex)]
    root = Path(__file__).resolve().parents[2]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(3)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in running] == ["335\n"] * 3
    assert sorted(os.listdir(tiny_vindex.parent)) == [tiny_vindex.name, index_of(tiny_vindex).name]


def test_a_copy_finds_its_own(tiny_vindex: Path, opened: Callable[..., Session], tmp_path: Path) -> None:
    ask(opened(tiny_vindex), "SELECT * FROM vec.gates")
    folder = tmp_path / "with 'quotes' and ?"
    folder.mkdir()
    copy = Path(shutil.copy(tiny_vindex, folder / "näme.vindex"))
    session = opened(copy)
    assert ask(session, "SELECT count(*) FROM vec.gates") == [(335,)]
    assert session.db.db_filename("vec") == str(index_of(copy))


def test_extensions_stay_off_for_statements(tiny_vindex: Path) -> None:
    db = open_database(tiny_vindex)
    load_extension(db)
    with pytest.raises(apsw.SQLError, match="not authorized"):
        db.execute("SELECT load_extension('anything')")
    assert VectorIndex(db).attached is False
    db.close()


def test_the_largest_norm_is_taken_in_parts() -> None:
    matrix = np.random.default_rng(0).standard_normal((5000, 64)).astype(np.float32)
    assert largest_norm(matrix) == pytest.approx(np.linalg.norm(matrix.astype(np.float64), axis=1).max(), rel=1e-14)
    assert largest_norm(matrix[:0]) == 0.0
