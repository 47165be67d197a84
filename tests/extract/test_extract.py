"""Extracting: what is in the file, that it is whole or absent, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import larqldb
from larqldb.errors import (
    BadModelFile,
    BadTensor,
    MissingPart,
    OutputBusy,
    OutputExists,
    OutputFailed,
    ProgrammingError,
    SourceNotFound,
    UnsupportedModel,
)
from larqldb.storage.checksums import verify
from larqldb.storage.database import create_database, fetch, open_database
from larqldb.storage.tensors import TensorStore
from tests.tiny import LLAMA, write_tiny


def test_every_table_is_filled(tiny_vindex: Path) -> None:
    with closing(open_database(tiny_vindex)) as db:
        counts = {
            table: db.execute(f"SELECT count(*) FROM {table}").get
            for table in ("model", "files", "tensors", "tensor_chunks", "layers", "tokens", "features",
                          "feature_tokens", "feature_vectors", "migrations", "seal", "relations", "promotions")
        }  # fmt: skip
        assert all(counts.values())
        assert counts["layers"] == 5
        assert counts["features"] == counts["feature_vectors"] == 5 * 67
        assert counts["feature_tokens"] == counts["promotions"] == 5 * 67 * 10
        assert counts["tokens"] == 400
        bands = [band for (band,) in fetch(db, "SELECT band FROM layers ORDER BY layer")]
        assert list(dict.fromkeys(bands)) == ["syntax", "knowledge", "output"]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_tensors_come_back_byte_for_byte(tmp_path: Path, dtype: Any) -> None:
    source = write_tiny(tmp_path / "model", dtype=dtype, tie_word_embeddings=False)
    larqldb.extract(source, tmp_path / "m.vindex")
    with closing(open_database(tmp_path / "m.vindex")) as db:
        store = TensorStore(db)
        stored = {tensor.name: store.read(tensor) for tensor in store.tensors()}
    original = load_file(source / "model.safetensors")
    assert stored.keys() == original.keys()
    for name, array in original.items():
        assert stored[name].dtype == array.dtype
        assert stored[name].shape == array.shape
        assert np.ascontiguousarray(stored[name]).tobytes() == array.tobytes(), name


def test_the_feature_rows_are_the_model(tiny_model: Path, tiny_vindex: Path) -> None:
    original = load_file(tiny_model / "model.safetensors")
    gate = original["model.layers.3.mlp.gate_proj.weight"]
    down = original["model.layers.3.mlp.down_proj.weight"]
    with closing(open_database(tiny_vindex)) as db:
        row = fetch(db, "SELECT gate, down FROM feature_vectors WHERE layer = 3 AND feature = 41")[0]
        (norm,) = fetch(db, "SELECT down_norm FROM features WHERE layer = 3 AND feature = 41")[0]
    assert row == (gate[41].tobytes(), down[:, 41].tobytes())
    assert norm == pytest.approx(float(np.linalg.norm(down[:, 41].astype(np.float64))), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtype(tmp_path: Path, tiny_model: Path, dtype: str) -> None:
    report = larqldb.extract(tiny_model, tmp_path / "m.vindex", dtype=dtype)
    with closing(open_database(tmp_path / "m.vindex")) as db:
        stored = dict(fetch(db, "SELECT role, dtype FROM tensors"))
        assert stored["gate"] == stored["embed"] == {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
        assert stored["ffn_norm"] == "BF16"  # vectors keep the source's
        assert list(verify(db)) == []
    assert (report.rounding == 0) == (dtype != "float16")


def test_numbers_too_large_for_float16(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "model")
    tensors = load_file(source / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = 1e6
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(BadTensor, match=r"model\.layers\.1\.mlp\.up_proj\.weight.*--dtype bfloat16"):
        larqldb.extract(source, tmp_path / "m.vindex", dtype="float16")
    assert os.listdir(tmp_path) == ["model"]


def test_levels(tmp_path: Path, tiny_model: Path) -> None:
    sizes = {}
    for level in ("browse", "inference", "all"):
        path = tmp_path / f"{level}.vindex"
        report = larqldb.extract(tiny_model, path, level=level)
        sizes[level] = report.bytes
        with closing(larqldb.connect(path)) as db:
            assert db.execute('DESCRIBE "France"').description
            assert db.execute("SELECT * FROM walk('France', 2)").fetchall()
            if level == "browse":
                with pytest.raises(MissingPart, match=r"INFER needs attention weights.*--level inference"):
                    db.execute('INFER "The capital of France is"').fetchall()
            else:
                assert len(db.execute('INFER "The capital of France is" TOP 3').fetchall()) == 3
        with closing(open_database(path)) as raw:
            assert list(verify(raw)) == []
            fingerprints = fetch(raw, "SELECT value FROM model WHERE key = 'fingerprint'")
        sizes.setdefault("fingerprint", fingerprints)
        assert fingerprints == sizes["fingerprint"]  # the same weights, however much of them is stored
    assert sizes["browse"] < sizes["inference"] <= sizes["all"]


def test_layers(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "m.vindex"
    larqldb.extract(tiny_model, path, layers=(1, 3))
    with closing(larqldb.connect(path)) as db:
        assert [layer for (layer,) in db.execute("SELECT layer FROM layers ORDER BY layer")] == [1, 2, 3]
        assert {layer for (layer,) in db.execute("SELECT layer FROM walk('France')")} == {1, 2, 3}
        with pytest.raises(MissingPart, match="all layers"):
            db.execute("INFER 'France'").fetchall()
        with pytest.raises(ProgrammingError, match=r"no layer 4: this vindex holds layers 1-3"):
            db.execute("SELECT * FROM walk('France', 1, 'pure', 4)").fetchall()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": (3, 9)}, "layers 3-9: the model has layers 0-4"),
        ({"layers": (3, 1)}, "layers 3-1"),
        ({"level": "some"}, "level 'some' is not one of browse, inference, all"),
        ({"dtype": "int8"}, "dtype 'int8' is not one of float32, float16, bfloat16"),
    ],
)
def test_bad_arguments(tmp_path: Path, tiny_model: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        larqldb.extract(tiny_model, tmp_path / "m.vindex", **arguments)
    assert os.listdir(tmp_path) == []


def test_progress_ends_at_the_end(tmp_path: Path, tiny_model: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    larqldb.extract(tiny_model, tmp_path / "m.vindex", progress=lambda *step: seen.append(step))
    done = [step[1] for step in seen]
    assert done == sorted(done)
    assert seen[-1][1] == seen[-1][2]
    assert {"vocabulary", "embeddings", "layer 0", "layer 4"} <= {step[0] for step in seen}


def test_the_output_exists(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "m.vindex"
    path.write_text("precious")
    with pytest.raises(OutputExists, match=r"m\.vindex exists already"):
        larqldb.extract(tiny_model, path)
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["m.vindex"]


def test_no_such_folder(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(OutputFailed, match="there is no folder"):
        larqldb.extract(tiny_model, tmp_path / "nowhere" / "m.vindex")


def test_a_source_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        larqldb.extract(tmp_path / "model", tmp_path / "m.vindex")
    assert os.listdir(tmp_path) == []


def test_two_at_once(tmp_path: Path, tiny_model: Path) -> None:
    other = create_database(tmp_path / ".m.vindex.partial")
    try:
        with pytest.raises(OutputBusy, match="another process is writing"):
            larqldb.extract(tiny_model, tmp_path / "m.vindex")
        assert os.listdir(tmp_path) == [".m.vindex.partial"]
    finally:
        other.close()


def extract_in_a_process(
    source: Path, path: Path, before: str = "", step: str = "None"
) -> subprocess.CompletedProcess[str]:
    code = "\n".join((
        "import os, sys, signal, resource, larqldb",
        before,
        f"larqldb.extract(sys.argv[1], sys.argv[2], progress={step})",
    ))  # fmt: skip
    command = [sys.executable, "-c", code, str(source), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("at", [0, 1, 5, 7, 9, 10])
def test_killed_at_any_moment(tmp_path: Path, tiny_model: Path, at: int) -> None:
    path = tmp_path / "m.vindex"
    step = f"lambda what, done, total: done >= {at} and os.kill(os.getpid(), signal.SIGKILL)"
    assert extract_in_a_process(tiny_model, path, step=step).returncode == -signal.SIGKILL
    assert not path.exists()
    larqldb.extract(tiny_model, path)
    assert os.listdir(tmp_path) == ["m.vindex"]
    with closing(open_database(path)) as db:
        assert list(verify(db)) == []


def test_interrupted(tmp_path: Path, tiny_model: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        larqldb.extract(tiny_model, tmp_path / "m.vindex", progress=stop)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("limit", [1, 60_000, 400_000])
def test_no_space_left(tmp_path: Path, tiny_model: Path, limit: int) -> None:
    before = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    done = extract_in_a_process(tiny_model, tmp_path / "m.vindex", before)
    assert "larqldb.errors.OutputFailed: could not write" in done.stderr
    assert os.listdir(tmp_path) == []


def change_config(source: Path, **changes: Any) -> None:
    (source / "config.json").write_text(json.dumps({**LLAMA, **changes}))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda p: (p / "tokenizer.json").unlink(), BadModelFile, "tokenizer.json"),
        (lambda p: (p / "config.json").unlink(), (BadModelFile, SourceNotFound), "config.json"),
        (lambda p: change_config(p, model_type="mamba"), UnsupportedModel, "mamba"),
        (lambda p: change_config(p, attention_chunk=4), UnsupportedModel, "attention_chunk"),
        (lambda p: change_config(p, num_hidden_layers=6), BadModelFile, r"model\.layers\.5\."),
        (lambda p: change_config(p, num_hidden_layers=4), UnsupportedModel, r"model\.layers\.4\."),
        (lambda p: change_config(p, intermediate_size=64), BadModelFile, r"\[67, 40\].*implies \[64, 40\]"),
        (lambda p: change_config(p, vocab_size=300), BadModelFile, r"embed_tokens|tokenizer\.json"),
        (lambda p: (p / "config.json").write_text("{"), BadModelFile, "config.json"),
    ],
)
def test_models_that_do_not_fit_together(tmp_path: Path, spoil: Any, error: Any, message: str) -> None:
    source = write_tiny(tmp_path / "model")
    spoil(source)
    with pytest.raises(error, match=message):
        larqldb.extract(source, tmp_path / "m.vindex")
    assert os.listdir(tmp_path) == ["model"]


def test_nan_weights(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "model")
    tensors = load_file(source / "model.safetensors")
    tensors["model.layers.2.mlp.gate_proj.weight"][5, 6] = np.nan
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(BadTensor, match=r"model\.layers\.2\.mlp\.gate_proj\.weight.*\[5, 6\]"):
        larqldb.extract(source, tmp_path / "m.vindex")
    assert os.listdir(tmp_path) == ["model"]


def test_dead_and_repeated_features(tmp_path: Path) -> None:
    """A feature that writes nothing promotes the first tokens, with score 0."""
    source = write_tiny(tmp_path / "model")
    tensors = load_file(source / "model.safetensors")
    tensors["model.layers.2.mlp.down_proj.weight"][:, 7] = 0
    save_file(tensors, source / "model.safetensors")
    larqldb.extract(source, tmp_path / "m.vindex")
    with closing(open_database(tmp_path / "m.vindex")) as db:
        rows = fetch(db, "SELECT token_id, score FROM feature_tokens WHERE layer = 2 AND feature = 7 ORDER BY rank")
    assert rows == [(i, 0.0) for i in range(10)]


def test_the_same_model_gives_the_same_rows(tmp_path: Path, tiny_model: Path, tiny_vindex: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_model, copy)
    larqldb.extract(copy, tmp_path / "again.vindex")
    with closing(open_database(tiny_vindex)) as one, closing(open_database(tmp_path / "again.vindex")) as two:
        for table in ("tensors", "tensor_chunks", "features", "feature_tokens", "feature_vectors", "layers", "edges"):
            assert fetch(one, f"SELECT * FROM {table}") == fetch(two, f"SELECT * FROM {table}")
