"""Reading models: one way in, ``open_source``, whatever form the model comes in.

``base`` says what a source offers, ``safetensors`` reads Hugging Face directories, ``gguf`` (with the ``gguf_*``
modules beside it) reads GGUF files and puts them into Hugging Face's form, ``hub`` fetches by hub id.
"""

from __future__ import annotations

import os
from pathlib import Path

from larqldb.errors import BadModelFile, SourceNotFound
from larqldb.extract.sources.base import Source, TensorInfo
from larqldb.extract.sources.gguf import GGUFSource
from larqldb.extract.sources.gguf_container import is_gguf
from larqldb.extract.sources.hub import fetch, parse_hub_id
from larqldb.extract.sources.safetensors import SafetensorsSource

__all__ = ["Source", "TensorInfo", "open_source"]

LOCAL_ALTERNATIVES = (
    "Name a Hugging Face directory, a GGUF file or a hub id (org/name); tools/fetch_model gets a small model to start"
)


def open_source(source: str | os.PathLike[str]) -> Source:
    """Open a model: a Hugging Face directory, a GGUF or safetensors file, or a hub id ``org/name[@revision]``.

    ``hf://org/name[@revision][/file.gguf]`` always means the hub; otherwise a path that exists wins over a hub id.
    Raises SourceNotFound, BadModelFile (damaged or incomplete files) or UnsupportedModel (a tensor type, tokenizer
    or GGUF architecture that is not implemented). Whether the architecture can be run is not checked here.
    """
    named = os.fspath(source)
    hub_id = parse_hub_id(named)
    try:
        if hub_id is not None and (hub_id.explicit or not Path(named).exists()):
            fetched = fetch(hub_id)
            return _open_path(fetched.path, fetched.origin)
        path = Path(named).expanduser()
        if not path.exists():
            raise SourceNotFound(source=named, remedy=LOCAL_ALTERNATIVES)
        return _open_path(path, named)
    except OSError as error:
        raise BadModelFile(
            path=error.filename or named,
            problem=f"it cannot be read ({error.strerror or error})",
            remedy="Check that it exists and may be read",
        ) from error


def _open_path(path: Path, origin: str) -> Source:
    if path.is_dir():
        return _open_directory(path, origin)
    if is_gguf(path) or path.suffix == ".gguf":
        return GGUFSource(path, origin)
    if path.suffix == ".safetensors":
        return SafetensorsSource(path.parent, origin)
    if path.suffix in _PICKLED:
        raise _pickled(path)
    raise BadModelFile(path=path, problem="it is neither a GGUF nor a safetensors file", remedy=LOCAL_ALTERNATIVES)


_PICKLED = (".bin", ".pt", ".pth")


def _open_directory(path: Path, origin: str) -> Source:
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    if any(name.endswith((".safetensors", ".safetensors.index.json")) for name in names):
        return SafetensorsSource(path, origin)
    ggufs = [name for name in names if name.endswith(".gguf")]
    if len(ggufs) == 1:
        return GGUFSource(path / ggufs[0], origin)
    if ggufs:
        raise BadModelFile(
            path=path, problem=f"it holds {len(ggufs)} GGUF files", remedy=f"Name one of them: {', '.join(ggufs[:4])}"
        )
    if any(name.endswith(_PICKLED) for name in names):
        raise _pickled(path)
    raise SourceNotFound(source=path, remedy=f"The directory holds no model files. {LOCAL_ALTERNATIVES}")


def _pickled(path: Path) -> BadModelFile:
    return BadModelFile(
        path=path,
        problem="it holds pickled PyTorch weights, which can run code when loaded and are not read",
        remedy="Convert it to safetensors (in transformers: save_pretrained)",
    )
