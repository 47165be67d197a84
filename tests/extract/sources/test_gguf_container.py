"""GGUF headers: values come as written, and no damage gets past the checks."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larqldb.errors import BadModelFile, Error, UnsupportedModel
from larqldb.extract.sources import open_source
from larqldb.extract.sources.gguf_container import read_container

if TYPE_CHECKING:
    from collections.abc import Callable


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def header(
    *, magic: bytes = b"GGUF", version: int = 3, tensors: int = 0, entries: int = 0, rest: bytes = b"", pad: int = 64
) -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, entries) + rest + b"\0" * pad


def tensor(name: str = "t", shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def test_every_kind_of_value(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60_000)
    writer.add_int16("i16", -30_000)
    writer.add_uint32("u32", 4_000_000_000)
    writer.add_int32("i32", -2_000_000_000)
    writer.add_uint64("u64", 2**63)
    writer.add_int64("i64", -(2**62))
    writer.add_float32("f32", 1e-5)
    writer.add_float64("f64", 1 / 3)
    writer.add_bool("yes", True)
    writer.add_string("text", "héllo")
    writer.add_array("strings", ["a", "", "é"])
    writer.add_array("numbers", [1, 2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_container(tmp_path / "x.gguf").metadata
    scalars = {key: value for key, value in found.items() if not isinstance(value, np.ndarray)}
    assert scalars == {
        "general.architecture": "llama",
        "u8": 200,
        "i8": -100,
        "u16": 60_000,
        "i16": -30_000,
        "u32": 4_000_000_000,
        "i32": -2_000_000_000,
        "u64": 2**63,
        "i64": -(2**62),
        "f32": 1e-5,
        "f64": 1 / 3,
        "yes": True,
        "text": "héllo",
        "strings": ["a", "", "é"],
    }
    assert found["numbers"].tolist() == [1, 2, 3]


def test_nested_arrays(tmp_path: Path) -> None:
    inner = struct.pack("<IQ3B", 0, 3, 1, 2, 3)
    entry = text("k") + struct.pack("<IIQ", 9, 9, 2) + inner * 2
    (tmp_path / "x.gguf").write_bytes(header(entries=1, rest=entry))
    found = read_container(tmp_path / "x.gguf").metadata["k"]
    assert [part.tolist() for part in found] == [[1, 2, 3], [1, 2, 3]]


def nest(depth: int) -> bytes:
    return text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * depth


HUGE = 2**63
BAD = {
    "empty": (b"", "cut short"),
    "magic": (header(magic=b"GGML"), r"not a GGUF file \(it begins with b'GGML'\)"),
    "text": (b"Hello, I am a text file and not a model", "not a GGUF file"),
    "version 1": (header(version=1), "its GGUF version is 1"),
    "version 99": (header(version=99), "its GGUF version is 99"),
    "big-endian": (header(version=0x03000000), "big-endian"),
    "tensor count": (header(tensors=HUGE), "promises 9,223,372,036,854,775,808 tensors"),
    "entry count": (header(entries=HUGE), "9,223,372,036,854,775,808 metadata entries"),
    "key length": (header(entries=1, rest=struct.pack("<Q", HUGE)), "cut short, or damaged, at a metadata key"),
    "key encoding": (header(entries=1, rest=text(b"\xff\xfe")), "not valid UTF-8"),
    "value type": (header(entries=1, rest=text("k") + struct.pack("<I", 77)), "k has unknown value type 77"),
    "string length": (header(entries=1, rest=text("k") + struct.pack("<IQ", 8, HUGE)), "damaged, at k"),
    "array length": (header(entries=1, rest=text("k") + struct.pack("<IIQ", 9, 4, HUGE)), "k promises"),
    "string array length": (header(entries=1, rest=text("k") + struct.pack("<IIQ", 9, 8, HUGE)), "k promises"),
    "array element type": (header(entries=1, rest=text("k") + struct.pack("<IIQ", 9, 13, 1)), "unknown value type 13"),
    "nesting": (header(entries=1, rest=nest(50), pad=200), "nests arrays more than 4 deep"),
    "same key": (header(entries=2, rest=(text("k") + struct.pack("<IB", 0, 1)) * 2), "k occurs twice"),
    "alignment": (
        header(entries=1, rest=text("general.alignment") + struct.pack("<II", 4, 3)),
        "alignment is 3, not a power of two",
    ),
    "alignment type": (
        header(entries=1, rest=text("general.alignment") + struct.pack("<I", 8) + text("x")),
        "alignment is 'x'",
    ),
    "dimensions": (header(tensors=1, rest=tensor(shape=(1,) * 5)), "t has 5 dimensions"),
    "no dimensions": (header(tensors=1, rest=tensor(shape=())), "t has 0 dimensions"),
    "zero extent": (header(tensors=1, rest=tensor(shape=(4, 0))), "cannot be F32"),
    "shape": (header(tensors=1, rest=tensor(shape=(2**40, 2**40))), "not all inside the file"),
    "offset": (header(tensors=1, rest=tensor(offset=2**63)), "not all inside the file"),
    "unaligned": (header(tensors=1, rest=tensor(offset=1)), "not all inside the file"),
    "block": (header(tensors=1, rest=tensor(shape=(33,), kind=2)), "cannot be Q4_0, in blocks of 32"),
    "a long name": (header(tensors=1, rest=tensor("x\n" * 5000, kind=0, offset=1)), r"tensor x\\nx\\n.*…"),
    "same tensor": (header(tensors=2, rest=tensor() + tensor(offset=32), pad=200), "t occurs twice"),
    "overlap": (header(tensors=2, rest=tensor() + tensor("u"), pad=200), "overlaps another tensor's"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(BadModelFile, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).count("\n") <= 1


def test_an_unknown_quantisation_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(header(tensors=1, rest=tensor("blk.0.ffn_up.weight", kind=4)))
    with pytest.raises(UnsupportedModel, match=r"tensor blk\.0\.ffn_up\.weight of quantisation type 4 is not"):
        open_source(tmp_path / "x.gguf")


@pytest.fixture(scope="session")
def small_gguf(write_gguf: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    quantised = gguf.quants.quantize(np.ones((64, 32), np.float32), gguf.GGMLQuantizationType.Q4_1)
    tensors = {"blk.0.ffn_up.weight": (gguf.GGMLQuantizationType.Q4_1, quantised)}
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", tensors=tensors).read_bytes()


def try_everything(content: bytes) -> dict[str, Any] | None:
    """What the whole source gives, or None when it was refused with an error of ours, two lines at most."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gguf"
        path.write_bytes(content)
        try:
            source = open_source(path)
            return {**source.files, **{name: source.read(name) for name in source.tensors}}
        except Error as error:
            message = str(error)
    assert message.count("\n") <= 1
    return None


def test_the_small_file_is_whole(small_gguf: bytes) -> None:
    assert try_everything(small_gguf) is not None


def test_cut_short_anywhere(small_gguf: bytes) -> None:
    for size in range(0, len(small_gguf), 97):
        assert try_everything(small_gguf[:size]) is None


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 255)), min_size=1, max_size=4),
    in_header=st.booleans(),
)
def test_damage_anywhere_is_reported_or_harmless(
    small_gguf: bytes, changes: list[tuple[int, int]], in_header: bool
) -> None:
    """Any bytes changed: the tensors come, or one of our errors; no other exception, no hang, no warning."""
    damaged = bytearray(small_gguf)
    for place, byte in changes:
        damaged[place % (4096 if in_header else len(damaged))] = byte
    found = try_everything(bytes(damaged))
    assert found is None or len(found) >= 4


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 4088), value=st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]))
def test_absurd_counts_anywhere(small_gguf: bytes, place: int, value: int) -> None:
    damaged = bytearray(small_gguf)
    damaged[place : place + 8] = struct.pack("<Q", value)
    found = try_everything(bytes(damaged))
    assert found is None or len(found) >= 4
