"""Repositories of the hub: how they are named, and what its client's failures mean.

Large files there have a SHA-256, small ones git's object id: either tells whether a file is there already, and whether
it came whole.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from larqldb.errors import Error, HubFailed, ProgrammingError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

SUFFIX = ".vindex"
BLOCK = 1 << 20
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*"
_PLACE = re.compile(rf"(?:hf://)?({_NAME}/{_NAME})(?:@([A-Za-z0-9_.\-]+))?(?:/([^\s/].*))?")

Counted = Callable[[int], None]  # told how many more bytes are done


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, or a file in it: ``[hf://]org/name[@revision][/FILE]``."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{revision}" + (f"/{self.file}" if self.file else "")


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file of the hub is known by: SHA-256 of large files, git's object id of others."""

    sha256: str | None
    git: str | None

    def is_of(self, path: Path, counted: Counted = lambda _: None) -> bool:
        """Whether a local file is this one."""
        if self.sha256 is not None:
            return file_sha256(path, counted) == self.sha256
        start = f"blob {path.stat().st_size}\0".encode()  # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
        return _digest(path, hashlib.sha1(start, usedforsecurity=False), counted) == self.git


def digest_of(file: RepoFile) -> Digest:
    """What the hub says a file is known by."""
    return Digest(file.lfs.sha256 if file.lfs is not None else None, file.blob_id)


def parse_place(text: str) -> Place:
    """The repository or file that a text names; ProgrammingError where it names none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ProgrammingError(f"{text!r} names no repository of the hub: write org/name, or org/name/FILE{SUFFIX}")
    return Place(*match.groups())


def file_sha256(path: Path, counted: Counted = lambda _: None) -> str:
    """SHA-256 of a file, hexadecimal."""
    return _digest(path, hashlib.sha256(), counted)


def _digest(path: Path, digest: hashlib._Hash, counted: Counted) -> str:
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            counted(len(block))
    return digest.hexdigest()


def only_vindex(place: Place, names: list[str]) -> str:
    """The vindex that a place means, of the files a repository has; HubFailed where there is none, or several."""
    vindexes = sorted(name for name in names if name.endswith(SUFFIX))
    if place.file is not None:
        wanted = place.file
        if wanted in names:
            return wanted
        if f"{wanted}{SUFFIX}" in names:
            return f"{wanted}{SUFFIX}"
        near = difflib.get_close_matches(wanted, vindexes, 1) or vindexes[:5]
        hint = f"It has {', '.join(near)}" if near else "It holds no vindex at all"
        raise HubFailed(what=place.repository, problem=f"there is no file {wanted} in it", remedy=hint)
    named = f"{place.repository.partition('/')[2]}{SUFFIX}"
    if named in vindexes:
        return named
    if len(vindexes) == 1:
        return vindexes[0]
    if vindexes:
        raise HubFailed(
            what=place.repository,
            problem=f"it holds several vindexes: {', '.join(vindexes)}",
            remedy=f"Name one: larqldb pull {place}/{vindexes[0]}",
        )
    raise HubFailed(
        what=place.repository,
        problem="it holds no vindex",
        remedy=f"A model there can be extracted: larqldb extract {place.repository} -o NAME{SUFFIX}",
    )


@contextmanager
def explained(place: Place, *, kept: str = "") -> Iterator[None]:
    """Turn what the hub's client and the network raise into HubFailed; ``kept`` says what a second try begins with."""
    try:
        yield
    except Error:
        raise
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise _failure(problem, place, kept) from problem
    except (RuntimeError, ValueError) as problem:
        raise _failure(problem, place, kept) from problem
    except Exception as problem:  # httpx's errors, or those of requests, as the client's version has it
        if not _kinds(problem) & {"TransportError", "RequestException", "HTTPError"}:
            raise
        raise _failure(problem, place, kept) from problem


def _failure(problem: BaseException, place: Place, kept: str) -> HubFailed:
    """What a failure means, and what to do."""
    kinds = _kinds(problem)
    status = _status(problem)
    if "LocalTokenNotFoundError" in kinds or (status == 401 and "RepositoryNotFoundError" not in kinds):
        why, remedy = "the hub wants a token", "Log in with: hf auth login, or set HF_TOKEN"
    elif "GatedRepoError" in kinds:
        why, remedy = "its owner gives access on request", "Accept its terms on the hub, then run: hf auth login"
    elif "RepositoryNotFoundError" in kinds:
        why = "there is no such repository, or you may not see it"
        remedy = "Check its name; for a private one log in with: hf auth login"
    elif "RevisionNotFoundError" in kinds:
        why, remedy = f"it has no revision {place.revision}", "Leave the revision out, or look them up on the hub"
    elif "HFValidationError" in kinds:
        why, remedy = str(problem).partition("\n")[0], "Write org/name"
    elif status == 403:
        why, remedy = "the token may not do this", "Take one that may write there, or a repository of your own"
    elif status is not None:
        why, remedy = f"the hub answered {status}{_said(problem)}", kept or "Try again later"
    elif kinds & {"TransportError", "RequestException", "ConnectionError", "OfflineModeIsEnabled", "TimeoutError"}:
        why, remedy = "the hub cannot be reached", kept or "Check the network and try again"
    else:
        *_, first = _chain(problem)
        why = str(first).partition("\n")[0] or type(first).__name__
        remedy = kept or "Try again later"
    return HubFailed(what=str(place), problem=why, remedy=remedy)


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__


def _kinds(problem: BaseException) -> set[str]:
    return {kind.__name__ for one in _chain(problem) for kind in type(one).__mro__}


def _status(problem: BaseException) -> int | None:
    for one in _chain(problem):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _said(problem: BaseException) -> str:
    said = next((said for one in _chain(problem) if (said := getattr(one, "server_message", None))), None)
    return f": {str(said).splitlines()[0]}" if said else ""
