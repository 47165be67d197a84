"""Reading a Hugging Face directory: config.json, the tokenizer's files, and one or many safetensors files.

The header is checked against the file before a byte of it is believed; the format is
https://huggingface.co/docs/safetensors (8 bytes little-endian header length, a JSON object, then the data without
holes).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.extract.sources.base import NUMPY_DTYPES, Source, TensorInfo, read_bytes, shown

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_HEADER = 100_000_000  # the limit of the reference implementation
MAX_SIDE_FILE = 200_000_000  # the largest tokenizer.json in use is about 35 MB
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")
_DOWNLOAD_AGAIN = "Download or copy it again"
# Carried along because a later compile must give back a working directory; weights and their index are made anew.
_SIDE_FILES = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template)\.json|"
    r".*\.jinja|tokenizer\.model|.*\.tiktoken|merges\.txt|vocab\.txt|(LICENSE|NOTICE|USE_POLICY)(\..*)?"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor's bytes are."""

    path: Path
    offset: int


class SafetensorsSource(Source):
    """A Hugging Face directory with safetensors weights."""

    format = "safetensors"

    def __init__(self, directory: Path, origin: str) -> None:
        """Check everything but the numbers; raises BadModelFile or UnsupportedModel."""
        self._directory = directory
        config = _json_object(directory / "config.json", needed="It says what the tensors mean")
        if not (directory / "tokenizer.json").is_file():
            raise BadModelFile(
                path=directory,
                problem="it has no tokenizer.json",
                remedy="Load its tokenizer in transformers and save_pretrained it here, which writes one",
            )
        self._places: dict[str, _Place] = {}
        tensors: dict[str, TensorInfo] = {}
        for path, names in _shards(directory).items():
            header = _read_header(path)
            for name in names - header.keys():
                raise BadModelFile(
                    path=path,
                    problem=shown(f"it lacks tensor {name}, which {_INDEX} places in it"),
                    remedy=_DOWNLOAD_AGAIN,
                )
            for name, (info, offset) in header.items():
                if name in tensors:
                    raise BadModelFile(
                        path=path,
                        problem=shown(f"tensor {name} is also in {self._places[name].path.name}"),
                        remedy="Keep the files of one copy of the model only",
                    )
                tensors[name] = info
                self._places[name] = _Place(path, offset)
        super().__init__(origin, config, tensors)

    @cached_property
    def files(self) -> dict[str, bytes]:
        """config.json, the tokenizer's files, templates and licence, byte for byte."""
        found = {}
        for path in sorted(self._directory.iterdir()):
            if path.is_file() and _SIDE_FILES.fullmatch(path.name):
                found[path.name] = _small_file(path)
        return found

    def _read(self, info: TensorInfo, start: int, stop: int) -> NDArray[Any]:
        place = self._places[info.name]
        dtype = NUMPY_DTYPES[info.dtype]
        row_bytes = prod(info.shape[1:]) * dtype.itemsize
        raw = read_bytes(place.path, place.offset + start * row_bytes, (stop - start) * row_bytes)
        shape = (stop - start, *info.shape[1:]) if info.shape else ()
        return raw.view(dtype).reshape(shape)


def _shards(directory: Path) -> dict[Path, set[str]]:
    """The safetensors files to read, each with the tensors the index places in it (none without an index)."""
    single = directory / "model.safetensors"
    if single.is_file():
        return {single: set()}
    if (directory / _INDEX).is_file():
        return _indexed(directory)
    # LoRA adapters are deltas to another model, not a model.
    files = sorted(path for path in directory.glob("*.safetensors") if not path.name.startswith("adapter_"))
    if not files:
        raise BadModelFile(
            path=directory,
            problem="it holds a LoRA adapter, not a whole model",
            remedy="Merge it into its base model first (in peft: merge_and_unload)",
        )
    numbered = [(path, match) for path in files if (match := _SHARD.fullmatch(path.name))]
    if not numbered:
        return {path: set() for path in files}
    count = int(numbered[0][1]["count"])
    missing = sorted(set(range(1, count + 1)) - {int(match["number"]) for _, match in numbered})
    if missing:
        stem = numbered[0][1]["stem"]
        raise _missing_shard(directory / f"{stem}-{missing[0]:05}-of-{count:05}.safetensors")
    return {path: set() for path, _ in numbered}


def _indexed(directory: Path) -> dict[Path, set[str]]:
    index = directory / _INDEX
    weight_map = _json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise BadModelFile(path=index, problem="it has no weight_map of tensor names to files", remedy=_DOWNLOAD_AGAIN)
    shards: dict[Path, set[str]] = {}
    for tensor, name in weight_map.items():
        path = directory / name
        # A name with a folder in it could point anywhere on the disk.
        if path.parent != directory or path.name != name:
            raise BadModelFile(
                path=index, problem=shown(f"it names a file outside the directory ({name})"), remedy="Check it"
            )
        shards.setdefault(path, set()).add(tensor)
    if not shards:
        raise BadModelFile(path=index, problem="its weight_map is empty", remedy=_DOWNLOAD_AGAIN)
    for path in shards:
        if not path.is_file():
            raise _missing_shard(path)
    return dict(sorted(shards.items()))


def _missing_shard(path: Path) -> BadModelFile:
    return BadModelFile(
        path=path, problem="this shard of the model is missing", remedy="Download it, or the whole model again"
    )


def _read_header(path: Path) -> dict[str, tuple[TensorInfo, int]]:
    """Each tensor of a file with the absolute offset of its data, in the order of the data; all claims checked."""
    size = path.stat().st_size
    length = int.from_bytes(read_bytes(path, 0, min(8, size)).tobytes(), "little")
    if size < 8 or length > min(MAX_HEADER, size - 8):
        raise BadModelFile(
            path=path,
            problem=f"it is cut short or not a safetensors file ({size:,} bytes)",
            remedy=_DOWNLOAD_AGAIN,
        )
    header = _parse_header(path, read_bytes(path, 8, length).tobytes())
    header.pop("__metadata__", None)
    start, data_size = 8 + length, size - 8 - length
    spans = sorted((*_claim(path, name, entry), name) for name, entry in header.items())
    position = 0
    tensors = {}
    for begin, end, dtype, shape, name in spans:
        if begin != position:
            what = "overlaps the tensor before it" if begin < position else "leaves unused bytes before it"
            raise _lying(path, f"tensor {name} {what}")
        if end > data_size:
            raise _lying(path, f"tensor {name} ends at byte {end:,} of {data_size:,}; the file is cut short")
        position = end
        tensors[name] = TensorInfo(name, dtype, shape), start + begin
    if position != data_size:
        raise _lying(path, f"{data_size - position:,} bytes at its end belong to no tensor")
    return tensors


def _claim(path: Path, name: str, entry: object) -> tuple[int, int, str, tuple[int, ...]]:
    """What the header says of a tensor: begin, end, dtype, shape; its own arithmetic checked."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]} if all(
            type(number) is int and number >= 0 for number in (*shape, begin, end)
        ):
            pass
        case _:
            raise _lying(path, f"the entry of tensor {name} is malformed")
    if dtype not in NUMPY_DTYPES:
        raise UnsupportedModel(
            what=shown(f"tensor {name} of dtype {dtype}"),
            why=f"only {', '.join(NUMPY_DTYPES)} are read",
            remedy="Convert the model to one of these",
        )
    if end - begin != prod(shape) * NUMPY_DTYPES[dtype].itemsize:
        raise _lying(path, f"tensor {name} of shape {shape} as {dtype} does not fill bytes {begin:,} to {end:,}")
    return begin, end, dtype, tuple(shape)


def _parse_header(path: Path, text: bytes) -> dict[str, Any]:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _lying(path, f"the header is not valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _lying(path, "the header is not a JSON object")
    try:
        "".join(header).encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair
        raise _lying(path, "a tensor's name is not valid Unicode") from None
    return header


def _lying(path: Path, problem: str) -> BadModelFile:
    return BadModelFile(path=path, problem=shown(problem), remedy=_DOWNLOAD_AGAIN)


def _json_object(path: Path, needed: str = "") -> dict[str, Any]:
    if not path.is_file():
        raise BadModelFile(path=path, problem="it is missing", remedy=f"{needed}; {_DOWNLOAD_AGAIN.lower()}")
    try:
        value = json.loads(_small_file(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadModelFile(path=path, problem=f"it is not valid JSON ({error})", remedy=_DOWNLOAD_AGAIN) from error
    if not isinstance(value, dict):
        raise BadModelFile(path=path, problem="it is not a JSON object", remedy=_DOWNLOAD_AGAIN)
    return value


def _small_file(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_SIDE_FILE:
        raise BadModelFile(
            path=path, problem=f"it is {size:,} bytes, far too large for its kind", remedy="Remove or replace it"
        )
    return read_bytes(path, 0, size).tobytes()
