"""What a source may be called, and the answers to names that lead nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from larqldb.errors import BadModelFile, SourceNotFound
from larqldb.extract.sources import open_source
from larqldb.extract.sources.hub import HubId, parse_hub_id

if TYPE_CHECKING:
    from collections.abc import Callable

F32 = ("F32", [1], b"\0\0\x80\x3f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", HubId("org/name", None, None, explicit=False)),
        ("org/name.v2-x@main", HubId("org/name.v2-x", "main", None, explicit=False)),
        ("hf://org/name", HubId("org/name", None, None, explicit=True)),
        ("hf://org/name@abc123/sub/file.gguf", HubId("org/name", "abc123", "sub/file.gguf", explicit=True)),
        ("hf://org/name/file.gguf", HubId("org/name", None, "file.gguf", explicit=True)),
        ("org/name/file.gguf", None),
        ("name", None),
        ("./org/name", None),
        ("/org/name", None),
        ("org/name/more", None),
    ],
)
def test_hub_ids(text: str, expected: HubId | None) -> None:
    assert parse_hub_id(text) == expected


def test_a_path_wins_over_a_hub_id(
    hf_directory: Path, safetensors_file: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (hf_directory / "model.safetensors").write_bytes(safetensors_file({"x": F32}))
    (hf_directory.parent / "org").mkdir()
    hf_directory.rename(hf_directory.parent / "org" / "name")
    monkeypatch.chdir(hf_directory.parent)
    assert open_source("org/name").tensors.keys() == {"x"}
    assert open_source(Path("org/name")).origin == "org/name"


def test_a_repository_of_the_hub(
    hf_directory: Path, safetensors_file: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123abcd"
    snapshot.parent.mkdir(parents=True)
    (hf_directory / "model.safetensors").write_bytes(safetensors_file({"x": F32}))
    hf_directory.rename(snapshot)
    asked: dict[str, Any] = {}

    def snapshot_download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    source = open_source("org/name@main")
    assert source.origin == "hf://org/name@0123abcd"
    assert asked["repository"] == "org/name"
    assert asked["revision"] == "main"
    assert "*.safetensors" in asked["allow_patterns"]
    assert not any(pattern.endswith((".bin", ".pth", ".gguf")) for pattern in asked["allow_patterns"])


def test_a_gguf_file_of_the_hub(
    write_gguf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshots" / "99aa"
    folder.mkdir(parents=True)
    path = write_gguf(folder / "small.gguf")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, file, revision: str(path))
    assert open_source("hf://org/name/small.gguf").origin == "hf://org/name@99aa/small.gguf"


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("gone"), OfflineModeIsEnabled("off"), OSError("no route")])
def test_the_hub_out_of_reach(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(SourceNotFound) as caught:
        open_source("org/name")
    message = str(caught.value)
    assert "hf://org/name" in message
    assert "the hub cannot be reached" in message
    assert "directory or GGUF file" in message
    assert "tools/fetch_model" in message
    assert message.count("\n") == 1


def test_offline_for_real(tmp_path: Path) -> None:
    code = "from larqldb.extract.sources import open_source; open_source('org/no-such-model-here')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "SourceNotFound: no model at hf://org/no-such-model-here" in done.stderr


def test_nothing_there(tmp_path: Path) -> None:
    for name in (str(tmp_path / "nothing"), "nothing.gguf", "./a/b"):
        with pytest.raises(SourceNotFound, match="Hugging Face directory, a GGUF file or a hub id"):
            open_source(name)


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="holds no model files"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_refused(hf_directory: Path, name: str) -> None:
    (hf_directory / name).write_bytes(b"PK")
    for source in (hf_directory, hf_directory / name):
        with pytest.raises(BadModelFile, match=r"pickled PyTorch weights.*Convert it to safetensors"):
            open_source(source)


def test_names_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match="cannot be read"):
        open_source("x" * 5000)
    with pytest.raises(SourceNotFound):
        open_source("a\0b")


def test_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadModelFile, match="neither a GGUF nor a safetensors file"):
        open_source(tmp_path / "notes.txt")


def test_gguf_is_known_by_its_contents_and_in_its_directory(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    assert open_source(tmp_path).format == "gguf"
    write_gguf(tmp_path / "other.gguf")
    with pytest.raises(BadModelFile, match=r"2 GGUF files. Name one of them: model\.gguf, other\.gguf"):
        open_source(tmp_path)
    (tmp_path / "model.gguf").rename(tmp_path / "sha256-abc")
    assert open_source(tmp_path / "sha256-abc").format == "gguf"
