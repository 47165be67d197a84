"""A vindex to the hub: checked first, skipped where it is there already, with a page that says what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from larqldb.errors import DamagedVindex, HubFailed, ProgrammingError
from larqldb.share.hub import SUFFIX, Digest, digest_of, explained, file_sha256, parse_place
from larqldb.storage.database import fetch, open_database
from larqldb.storage.seal import broken

if TYPE_CHECKING:
    import apsw

Progress = Callable[[str, int, int], None]

CARD = "README.md"
AGAIN = "What arrived there is not sent again: run the same command"


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did: ``sent`` is False where the repository had this very file already."""

    url: str
    file: str
    bytes: int
    sha256: str
    sent: bool

    def rows(self) -> Iterator[tuple[str, str, int, int | None]]:
        """What was sent, as (what, where, how many, bytes)."""
        yield "vindex" if self.sent else "there already", f"{self.url}/blob/main/{self.file}", 1, self.bytes


def push(
    path: str | os.PathLike[str],
    destination: str,
    *,
    private: bool = False,
    message: str | None = None,
    progress: Progress = lambda *_: None,
) -> PushReport:
    """Send a vindex to a repository of the hub, made where there is none: ``[hf://]org/name[/FILE]``.

    What the repository has already, by its SHA-256, is not sent again, nor what of it an interrupted push had sent. A
    repository without a README.md gets one that says what the file is. Raises HubFailed, DamagedVindex, or what
    opening the vindex raises.
    """
    import huggingface_hub  # here, because importing it takes longer than opening a vindex
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils.tqdm import disable_progress_bars

    place, source = parse_place(destination), Path(path)
    if place.revision is not None:
        raise ProgrammingError(f"{destination}: a push goes to the repository's main branch; leave the revision out")
    name = place.file or source.name
    if not name.endswith(SUFFIX):
        name += SUFFIX
    with closing(open_database(source, read_only=True)) as db:
        properties = _properties(db, source)
    if huggingface_hub.get_token() is None:
        raise HubFailed(
            what=str(place), problem="sending needs a token", remedy="Log in with: hf auth login, or set HF_TOKEN"
        )
    size, done = source.stat().st_size, 0

    def counted(more: int) -> None:
        nonlocal done
        done += more
        progress("checking", done, 2 * size)

    sha256, api = file_sha256(source, counted), huggingface_hub.HfApi()
    disable_progress_bars()
    with explained(place, kept=AGAIN):
        url = str(api.create_repo(place.repository, private=private or None, exist_ok=True))
        there = {file.path: file for file in api.get_paths_info(place.repository, [name, CARD])}
        known = there.get(name)
        if isinstance(known, RepoFile) and _is_there(digest_of(known), source, sha256):
            return PushReport(url, name, size, sha256, sent=False)
        progress("sending", size, 2 * size)
        operations: list[Any] = [huggingface_hub.CommitOperationAdd(name, source)]
        if CARD not in there:
            operations.append(huggingface_hub.CommitOperationAdd(CARD, _card(place.repository, name, properties)))
        api.create_commit(place.repository, operations, commit_message=message or f"{name}, written by larqldb")
    progress("done", 2 * size, 2 * size)
    return PushReport(url, name, size, sha256, sent=True)


def _is_there(digest: Digest, path: Path, sha256: str) -> bool:
    return digest.sha256 == sha256 if digest.sha256 is not None else digest.is_of(path)


def _properties(db: apsw.Connection, path: Path) -> dict[str, Any]:
    """What the file says it is; DamagedVindex where it is not as it was written."""
    for problem in broken(db):
        raise DamagedVindex(path=path, problem=problem)
    return dict(fetch(db, "SELECT key, value FROM model"))


def _card(repository: str, name: str, properties: dict[str, Any]) -> bytes:
    """A page for the repository; it claims no licence, which is the model's."""
    held = properties.get("parts")
    holds = f"the parts {', '.join(json.loads(held))}" if held else f"level {properties.get('level')}"
    lines = [
        "---", "library_name: larqldb", "tags:", "- larqldb", "- vindex", "---", "",
        f"# {repository.partition('/')[2]}", "",
        f"`{name}` is a language model as one SQLite file, made from `{properties.get('source')}` by larqldb.",
        f"It holds {holds}; fingerprint `{properties.get('fingerprint')}`.", "",
        "```", f"larqldb pull {repository}/{name}", f"larqldb {name} 'STATS'", "```", "",
        "The model's own licence holds for it.", "",
    ]  # fmt: skip
    return "\n".join(lines).encode()
