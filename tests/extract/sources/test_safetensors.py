"""Hugging Face directories: what is read, and what every lie in a header leads to."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from larqldb.errors import BadModelFile, BadTensor, UnsupportedModel
from larqldb.extract.sources import TensorInfo, open_source

if TYPE_CHECKING:
    from collections.abc import Callable

F32 = ("F32", [2, 2], np.arange(4, dtype=np.float32).tobytes())


def test_tensors_come_as_the_reference_writer_wrote_them(hf_directory: Path) -> None:
    random = np.random.default_rng(1)
    tensors = {
        "a.weight": random.standard_normal((5, 3)).astype(ml_dtypes.bfloat16),
        "b.weight": random.standard_normal((4, 2)).astype(np.float16),
        "c.bias": random.standard_normal(7).astype(np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "scalar": np.array(2.5, np.float32),
    }
    safetensors.numpy.save_file(tensors, hf_directory / "model.safetensors", {"format": "pt"})
    with open_source(hf_directory) as source:
        assert source.format == "safetensors"
        assert source.config["hidden_size"] == 4
        assert source.origin == str(hf_directory)
        assert source.tensors["a.weight"] == TensorInfo("a.weight", "BF16", (5, 3))
        assert source.tensors.keys() == tensors.keys()
        for name, expected in tensors.items():
            array = source.read(name)
            assert array.dtype == expected.dtype
            assert array.shape == expected.shape
            assert array.tobytes() == expected.tobytes()


def test_rows_of_a_tensor_are_read_alone(hf_directory: Path) -> None:
    matrix = np.arange(24, dtype=np.float32).reshape(6, 4)
    safetensors.numpy.save_file({"x": matrix, "y": matrix[:1]}, hf_directory / "model.safetensors")
    source = open_source(hf_directory)
    np.testing.assert_array_equal(source.read("x", 2, 5), matrix[2:5])
    np.testing.assert_array_equal(source.read("x", 4), matrix[4:])
    np.testing.assert_array_equal(source.read("x", 4, 99), matrix[4:])
    assert source.read("x", 3, 3).shape == (0, 4)


def test_side_files_are_kept_and_weights_are_not(hf_directory: Path, safetensors_file: Callable[..., bytes]) -> None:
    (hf_directory / "model.safetensors").write_bytes(safetensors_file({"x": F32}))
    for name in ("chat_template.jinja", "generation_config.json", "LICENSE", "README.md", "pytorch_model.bin"):
        (hf_directory / name).write_bytes(name.encode())
    files = open_source(hf_directory).files
    assert files.keys() == {
        *("config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json", "LICENSE")
    }
    assert files["chat_template.jinja"] == b"chat_template.jinja"


def test_a_safetensors_file_stands_for_its_directory(
    hf_directory: Path, safetensors_file: Callable[..., bytes]
) -> None:
    (hf_directory / "model.safetensors").write_bytes(safetensors_file({"x": F32}))
    assert open_source(hf_directory / "model.safetensors").tensors.keys() == {"x"}


def test_shards_by_index_and_by_name(hf_directory: Path, safetensors_file: Callable[..., bytes]) -> None:
    for number, name in enumerate(("x", "y"), 1):
        (hf_directory / f"model-{number:05}-of-00002.safetensors").write_bytes(safetensors_file({name: F32}))
    (hf_directory / "consolidated.safetensors").write_bytes(safetensors_file({"other.name": F32}))
    assert open_source(hf_directory).tensors.keys() == {"x", "y"}
    weight_map = {"x": "model-00001-of-00002.safetensors", "y": "model-00002-of-00002.safetensors"}
    index = hf_directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert open_source(hf_directory).read("y").tolist() == [[0, 1], [2, 3]]
    assert "model.safetensors.index.json" not in open_source(hf_directory).files


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"x": "model-00001-of-00002.safetensors", "y": "gone.safetensors"}, "gone.safetensors: this shard .* missing"),
        ({"x": "model-00001-of-00002.safetensors", "z": "model-00001-of-00002.safetensors"}, "lacks tensor z"),
        ({"x": "../model-00001-of-00002.safetensors"}, "outside the directory"),
        ({"x": "/etc/passwd"}, "outside the directory"),
        ({"x": 7}, "no weight_map"),
        ({}, "weight_map is empty"),
        ([], "no weight_map"),
    ],
)
def test_an_index_that_does_not_fit(
    hf_directory: Path, safetensors_file: Callable[..., bytes], index: object, message: str
) -> None:
    (hf_directory / "model-00001-of-00002.safetensors").write_bytes(safetensors_file({"x": F32}))
    (hf_directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(BadModelFile, match=message):
        open_source(hf_directory)


def test_a_shard_missing_without_an_index(hf_directory: Path, safetensors_file: Callable[..., bytes]) -> None:
    (hf_directory / "model-00002-of-00003.safetensors").write_bytes(safetensors_file({"x": F32}))
    with pytest.raises(BadModelFile, match=r"model-00001-of-00003\.safetensors: this shard of the model is missing"):
        open_source(hf_directory)


def test_a_tensor_in_two_files(hf_directory: Path, safetensors_file: Callable[..., bytes]) -> None:
    for name in ("one.safetensors", "two.safetensors"):
        (hf_directory / name).write_bytes(safetensors_file({"x": F32}))
    with pytest.raises(BadModelFile, match=r"two\.safetensors: tensor x is also in one\.safetensors"):
        open_source(hf_directory)


def test_an_adapter_is_not_a_model(hf_directory: Path, safetensors_file: Callable[..., bytes]) -> None:
    (hf_directory / "adapter_model.safetensors").write_bytes(safetensors_file({"x": F32}))
    with pytest.raises(BadModelFile, match="LoRA adapter"):
        open_source(hf_directory)


def entry(dtype: object = "F32", shape: object = (2, 2), offsets: object = (0, 16)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"x": entry(offsets=[0, 8])}, "does not fill bytes 0 to 8"),
        ({"x": entry(shape=[2, 3])}, r"of shape \[2, 3\] as F32"),
        ({"x": entry(shape=[2, -2])}, "malformed"),
        ({"x": entry(shape=[True, 4])}, "malformed"),
        ({"x": entry(shape=4)}, "malformed"),
        ({"x": entry(offsets=[0])}, "malformed"),
        ({"x": entry(offsets=[0, 16.0])}, "malformed"),
        ({"x": []}, "malformed"),
        ({"x": entry(offsets=[4, 20])}, "leaves unused bytes"),
        ({"x": entry(), "y": entry(offsets=[8, 24])}, "overlaps"),
        ({"x": entry(), "y": entry()}, "overlaps"),
        ({"x": entry(), "y": entry(offsets=[16, 32])}, "ends at byte 32 of 16; the file is cut short"),
        ({"x": entry(shape=[1, 2], offsets=[0, 8])}, "8 bytes at its end belong to no tensor"),
        ({"x": entry(shape=[2**62, 2**62], offsets=[0, 2**126])}, "ends at byte"),
    ],
)
def test_a_header_that_lies(
    hf_directory: Path, safetensors_file: Callable[..., bytes], header: dict[str, object], message: str
) -> None:
    (hf_directory / "model.safetensors").write_bytes(safetensors_file({"x": F32}, **header))
    with pytest.raises(BadModelFile, match=message):
        open_source(hf_directory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"\x05\0\0", "cut short"),
        ((10**12).to_bytes(8, "little") + b"{}", "cut short"),
        ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
        ((4).to_bytes(8, "little") + b"{no}", "not valid JSON"),
        ((2).to_bytes(8, "little") + b"\xff\xfe", "not valid JSON"),
        ((14).to_bytes(8, "little") + b'{"x":1,"x":22}', "occurs twice"),
        ((15).to_bytes(8, "little") + rb'{"\ud800":null}', "name is not valid Unicode"),
        ((200_000).to_bytes(8, "little") + b"[" * 200_000, "not valid JSON"),
    ],
)
def test_a_header_that_is_none(hf_directory: Path, content: bytes, message: str) -> None:
    (hf_directory / "model.safetensors").write_bytes(content)
    with pytest.raises(BadModelFile, match=message):
        open_source(hf_directory)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "I8", "I64", "F64"])
def test_other_dtypes_are_refused_by_name(
    hf_directory: Path, safetensors_file: Callable[..., bytes], dtype: str
) -> None:
    (hf_directory / "model.safetensors").write_bytes(safetensors_file({"some.weight": (dtype, [16], b"\0" * 16)}))
    with pytest.raises(UnsupportedModel, match=rf"tensor some\.weight of dtype {dtype} is not supported"):
        open_source(hf_directory)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(hf_directory: Path, dtype: type, value: float) -> None:
    matrix = np.ones((9, 4), dtype)
    matrix[6, 3] = value
    safetensors.numpy.save_file({"w": matrix}, hf_directory / "model.safetensors")
    source = open_source(hf_directory)
    with pytest.raises(BadTensor, match=rf"tensor w: it holds {value} at \[6, 3\]"):
        source.read("w")
    with pytest.raises(BadTensor, match=r"at \[6, 3\]"):
        source.read("w", 5, 8)
    assert source.read("w", 0, 6).shape == (6, 4)


def test_a_file_cut_short_after_opening(hf_directory: Path, safetensors_file: Callable[..., bytes]) -> None:
    path = hf_directory / "model.safetensors"
    path.write_bytes(safetensors_file({"x": F32}))
    source = open_source(hf_directory)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BadModelFile, match="while it was being read"):
        source.read("x")
    path.unlink()
    with pytest.raises(BadModelFile, match="cannot be read"):
        source.read("x")
    with pytest.raises(BadModelFile, match="holds no tensor named y"):
        source.read("y")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, r"config\.json: it is missing"),
        ("config.json", "{", "not valid JSON"),
        ("config.json", "[]", "not a JSON object"),
        ("tokenizer.json", None, r"no tokenizer\.json"),
    ],
)
def test_a_side_file_missing_or_bad(
    hf_directory: Path, safetensors_file: Callable[..., bytes], name: str, content: str | None, message: str
) -> None:
    (hf_directory / "model.safetensors").write_bytes(safetensors_file({"x": F32}))
    (hf_directory / name).unlink()
    if content is not None:
        (hf_directory / name).write_text(content)
    with pytest.raises(BadModelFile, match=message):
        open_source(hf_directory)


VALID = {"a": F32, "b": ("BF16", [3], b"\x00\x3f" * 3), "c": ("F16", [2, 1], b"\0" * 4)}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_anywhere_is_reported_or_harmless(safetensors_file: Callable[..., bytes], data: st.DataObject) -> None:
    """Bytes changed or cut off: the tensors come, or one of our errors, never anything else."""
    whole = bytearray(safetensors_file(VALID))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole))) if data.draw(st.booleans()) else len(whole)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "config.json").write_text("{}")
        (directory / "tokenizer.json").write_text("{}")
        (directory / "model.safetensors").write_bytes(whole[:cut])
        try:
            source = open_source(directory)
            arrays = {name: source.read(name) for name in source.tensors}
        except (BadModelFile, BadTensor, UnsupportedModel) as error:
            found = str(error)
        else:
            found = {name: array.shape for name, array in arrays.items()}
    if isinstance(found, str):
        assert found.count("\n") <= 1
    else:
        assert cut == len(whole)
        assert found == {name: info.shape for name, info in source.tensors.items()}
