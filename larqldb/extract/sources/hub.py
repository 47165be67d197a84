"""Models named by hub id: ``org/name[@revision]`` and ``hf://org/name[@revision][/file.gguf]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from larqldb.errors import SourceNotFound

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*"
_HUB_ID = re.compile(
    rf"(?P<scheme>hf://)?(?P<repository>{_PART}/{_PART})(@(?P<revision>[A-Za-z0-9_.\-]+))?(/(?P<file>.+\.gguf))?"
)
# Settings, tokenizer and safetensors weights of the top folder; never weights in another format a second time.
_WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.tiktoken", "merges.txt", "vocab.txt", "LICENSE*"]
_UNWANTED = ["*/*", "consolidated*", "adapter_*"]


@dataclass(frozen=True, slots=True)
class HubId:
    """A parsed hub id; ``explicit`` when written with ``hf://``, so that no path of that name is meant."""

    repository: str
    revision: str | None
    file: str | None
    explicit: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """Files of the hub on this disk, and the origin that names exactly what was fetched."""

    path: Path
    origin: str


def parse_hub_id(text: str) -> HubId | None:
    """The hub id a source names, or None when it cannot be one."""
    match = _HUB_ID.fullmatch(text)
    if match is None or (match["file"] and not match["scheme"]):
        return None
    return HubId(match["repository"], match["revision"], match["file"], explicit=match["scheme"] is not None)


def fetch(hub_id: HubId) -> Fetched:
    """Download what a model needs into the hub's own cache, or find it there; raises SourceNotFound.

    The origin carries the commit, so that it still names the same weights when the repository moves on.
    """
    import huggingface_hub  # here, because importing it takes longer than opening a local model

    try:
        if hub_id.file:
            path = Path(huggingface_hub.hf_hub_download(hub_id.repository, hub_id.file, revision=hub_id.revision))
        else:
            path = Path(
                huggingface_hub.snapshot_download(
                    hub_id.repository, revision=hub_id.revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
                )
            )
    except Exception as error:  # whatever the hub's client or the network raises, the model is not to be had
        raise SourceNotFound(source=_spelled(hub_id), remedy=_remedy(hub_id, error)) from error
    commit = _commit(path)
    origin = f"hf://{hub_id.repository}" + (f"@{commit}" if commit else "")
    return Fetched(path, f"{origin}/{hub_id.file}" if hub_id.file else origin)


def _commit(path: Path) -> str | None:
    """The commit in a path of the hub's cache: …/snapshots/COMMIT[/file]."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else None


def _spelled(hub_id: HubId) -> str:
    revision = f"@{hub_id.revision}" if hub_id.revision else ""
    return f"hf://{hub_id.repository}{revision}" + (f"/{hub_id.file}" if hub_id.file else "")


def _remedy(hub_id: HubId, error: Exception) -> str:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        why = "It is gated: accept its terms on the hub, then run hf auth login"
    elif "RepositoryNotFoundError" in kinds:
        why = "There is no such path here and no such repository on the hub"
    elif "RevisionNotFoundError" in kinds:
        why = f"The repository has no revision {hub_id.revision}"
    elif "RemoteEntryNotFoundError" in kinds:
        why = f"The repository has no file {hub_id.file}"
    else:
        why = "There is no such path here and the hub cannot be reached"
    return f"{why}.\nName a local Hugging Face directory or GGUF file, or get a small model with tools/fetch_model"
