"""A vindex from the hub: fetched in pieces that stay when it is interrupted, checked, then put in its place."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import apsw

from larqldb.errors import HubFailed, OutputBusy, OutputExists, OutputFailed
from larqldb.share.hub import Digest, Place, digest_of, explained, only_vindex, parse_place
from larqldb.storage.database import APPLICATION_ID
from larqldb.storage.outputs import check_folder, publish
from larqldb.storage.seal import broken

Progress = Callable[[str, int, int], None]

AGAIN = "What came is kept: the same command goes on from there"


@dataclass(frozen=True, slots=True)
class PullReport:
    """What a pull did: ``fetched`` of the file's ``bytes`` came over the network now."""

    path: str
    origin: str
    bytes: int
    fetched: int

    def rows(self) -> Iterator[tuple[str, str, int, int | None]]:
        """What was written, as (what, where, how many, bytes)."""
        yield "vindex", self.path, 1, self.bytes
        yield "fetched from", self.origin, int(self.fetched > 0), self.fetched


def pull(
    source: str, path: str | os.PathLike[str] | None = None, *, progress: Progress = lambda *_: None
) -> PullReport:
    """Fetch a vindex from a repository of the hub: ``[hf://]org/name[@revision][/FILE]``.

    ``path`` is where to, by default the file's own name in the current folder. A file that is there already and the
    same is left alone. What an interrupted pull left is gone on from. The file appears when its checksum and its seal
    are right. Raises HubFailed, OutputExists, OutputBusy or OutputFailed.
    """
    import huggingface_hub  # here, because importing it takes longer than opening a vindex
    from huggingface_hub.hf_api import RepoFile

    place, api = parse_place(source), huggingface_hub.HfApi()
    with explained(place):
        commit = api.repo_info(place.repository, revision=place.revision).sha
        assert commit is not None
        tree = api.list_repo_tree(place.repository, revision=commit, recursive=True)
        files = {one.path: one for one in tree if isinstance(one, RepoFile)}
    name = only_vindex(place, list(files))
    file = files[name]
    target = Path(path) if path is not None else Path(Path(name).name)
    digest, origin = digest_of(file), f"hf://{place.repository}@{commit}/{name}"
    if target.is_symlink() or target.exists():
        if target.is_file() and target.stat().st_size == file.size and digest.is_of(target):
            return PullReport(os.fspath(target), origin, file.size, 0)
        raise OutputExists(path=target)
    check_folder(target)
    url = huggingface_hub.hf_hub_url(place.repository, name, revision=commit)
    partial = target.with_name(f".{target.name}.{(digest.sha256 or digest.git or '')[:16]}.pull")
    try:
        with _held(partial, target) as stream:
            fetched = _fetch(url, stream, file.size, place, lambda done: progress("fetching", done, file.size))
        _check(partial, digest, place, file.size, progress)
        publish(partial, target)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            with suppress(OSError):
                partial.unlink()
        raise OutputFailed(path=target, problem=problem.strerror or str(problem)) from problem
    progress("done", file.size, file.size)
    return PullReport(os.fspath(target), origin, file.size, fetched)


@contextmanager
def _held(partial: Path, target: Path) -> Iterator[IO[bytes]]:
    """The partial file, locked, at its end; OutputBusy where another process is fetching it."""
    with open(partial, "ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputBusy(path=target) from None
        yield stream


def _fetch(url: str, stream: IO[bytes], size: int, place: Place, progress: Callable[[int], None]) -> int:
    """Fetch what is missing; gives how many bytes that were."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils.tqdm import disable_progress_bars

    there = stream.tell()
    if there > size:
        stream.truncate(0)
        there = 0
    free = shutil.disk_usage(Path(stream.name).parent).free
    if free < size - there:
        raise OSError(errno.ENOSPC, f"it takes {size - there:,} bytes, {free:,} are free")
    disable_progress_bars()
    with _quiet("huggingface_hub.file_download"), explained(place, kept=AGAIN):
        http_get(
            url,
            _Counting(stream, there, progress),  # type: ignore[arg-type]
            resume_size=there,
            expected_size=size,
            headers=build_hf_headers(),
        )
        stream.flush()
    return size - there


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Without the warnings of a logger: what they are about is tried again, or comes as an error."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


class _Counting:
    """A file that says how far it has come; what http_get uses of a file."""

    def __init__(self, stream: IO[bytes], done: int, progress: Callable[[int], None]) -> None:
        self._stream, self._done, self._progress = stream, done, progress

    def write(self, data: bytes) -> int:
        self._done += len(data)
        self._progress(self._done)
        return self._stream.write(data)

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        self._done = self._stream.tell() if size is None else size
        return self._stream.truncate(size)


def _check(partial: Path, digest: Digest, place: Place, size: int, progress: Progress) -> None:
    """Refuse, and remove, a file that is not what the hub says, or no vindex as it was written."""
    done = 0

    def counted(more: int) -> None:
        nonlocal done
        done += more
        progress("checking", done, size)

    try:
        if not digest.is_of(partial, counted):
            problem = "what came does not have the checksum that the hub states"
            raise HubFailed(what=str(place), problem=problem, remedy="It was removed; pull it again")
        damage = _problem(partial)
        if damage is not None:
            raise HubFailed(what=str(place), problem=damage, remedy="Its owner must push it again; nothing was kept")
    except HubFailed:
        partial.unlink(missing_ok=True)
        raise


def _problem(path: Path) -> str | None:
    """Why a file is no vindex as it was written."""
    try:
        with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            if db.pragma("application_id") != APPLICATION_ID:
                return "the file there is not a vindex"
            return next((f"the file there is damaged: {problem}" for problem in broken(db)), None)
    except (apsw.Error, ValueError) as problem:
        return f"the file there is damaged: {problem}"
