"""Hugging Face directories: byte for byte what came in, and with edits what the live model says."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import larqldb
from larqldb.compile import safetensors
from larqldb.compile.model_files import compile_model
from larqldb.errors import (
    BadPatch,
    BadTensor,
    CannotCompile,
    DamagedVindex,
    LQLSyntaxError,
    MissingPart,
    NoFolder,
    OutputExists,
    ProgrammingError,
)
from larqldb.storage import edits
from tests.compile.making import IDS, LAST, OWN, add, divergence, remove
from tests.tiny import write_tiny


def test_without_edits_the_directory_comes_back_byte_for_byte(conn, family, tmp_path):
    rows = conn.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / "out"),)).fetchall()
    came, went = family.parent / "model", tmp_path / "out"
    assert {file.name for file in went.iterdir()} == {file.name for file in came.iterdir()} | {"README.md"}
    for file in came.iterdir():
        if file.suffix != ".safetensors":
            assert (went / file.name).read_bytes() == file.read_bytes(), file.name
    before, after = load_file(came / "model.safetensors"), load_file(went / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(
        after[name].dtype == array.dtype and np.array_equal(after[name], array) for name, array in before.items()
    )
    with safe_open(went / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
    assert rows[0][:3] == ("model", str(went), len(before))
    assert rows[0][3] == sum(file.stat().st_size for file in went.iterdir())


def test_a_file_that_safetensors_wrote_comes_back_as_it_was(tmp_path):
    from safetensors.numpy import save_file

    source = write_tiny(tmp_path / "model", dtype=ml_dtypes.bfloat16)
    tensors = load_file(source / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].astype(np.float32)
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    larqldb.extract(source, tmp_path / "m.vindex")
    with closing(larqldb.connect(tmp_path / "m.vindex", read_only=True)) as conn:
        compile_model(conn.session, tmp_path / "out")
    went = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert went == (source / "model.safetensors").read_bytes()


def test_with_edits_it_says_what_the_live_model_says(conn, tmp_path):
    add(conn, LAST, OWN, seed=1)
    add(conn, 1, OWN, seed=2)
    remove(conn, 2, 7)
    conn.execute("COMPILE CURRENT INTO MODEL ? FORMAT SAFETENSORS SLOTS GROW", (str(tmp_path / "out"),))
    live = conn.session.runner.all_logits(IDS)
    larqldb.extract(tmp_path / "out", tmp_path / "again.vindex")
    with closing(larqldb.connect(tmp_path / "again.vindex", read_only=True)) as again:
        assert again.session.network.ffn == 96
        assert divergence(live, again.session.runner.all_logits(IDS)) < 1e-6


def test_what_is_extracted_again_is_equal(family, tmp_path):
    with closing(larqldb.connect(family, read_only=True)) as conn:
        compile_model(conn.session, tmp_path / "out")
        stated = conn.session.model["fingerprint"]
    assert larqldb.extract(tmp_path / "out", tmp_path / "again.vindex").fingerprint == stated


@pytest.fixture
def tiny(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        connection.execute("BEGIN")
        yield connection
        connection.rollback()


def test_the_card_says_what_was_edited(tiny, tmp_path):
    add(tiny, LAST, OWN, target="Par|is\n# no heading")
    remove(tiny, 0, 3)
    rows = compile_model(tiny.session, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| Atlantis | capital | Par\\|is \\# no heading | 4 |" in card
    assert "Layers have 96 features instead of 67." in card
    assert "Layer 0: 1 of its own taken away." in card
    assert [row[:3] for row in rows if row.what == "fact"] == [("fact", "Atlantis capital Par|is\n# no heading", None)]


def test_added_features_keep_their_digits_unless_told_otherwise(tiny, tmp_path):
    add(tiny, LAST, OWN)
    compile_model(tiny.session, tmp_path / "exact")
    compile_model(tiny.session, tmp_path / "rounded", quant="bf16", ask=False)
    names = [f"model.layers.4.mlp.{name}_proj.weight" for name in ("gate", "up", "down")]
    for folder, dtype in (("exact", np.float32), ("rounded", ml_dtypes.bfloat16)):
        tensors = load_file(tmp_path / folder / "model.safetensors")
        assert {tensors[name].dtype for name in names} == {np.dtype(dtype)}
        assert tensors["model.layers.3.mlp.up_proj.weight"].dtype == ml_dtypes.bfloat16
        assert not tensors["model.layers.3.mlp.up_proj.weight"][OWN:].any()


def test_large_models_are_split(tiny, tmp_path, monkeypatch):
    rows = compile_model(tiny.session, tmp_path / "out", shard_bytes=40_000)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert [file.name for file in files] == [
        f"model-{i:05}-of-{len(files):05}.safetensors" for i in range(1, len(files) + 1)
    ]
    index = json.loads((tmp_path / "out" / safetensors.INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(a.nbytes for file in files for a in load_file(file).values())
    assert {name: file.name for file in files for name in load_file(file)} == index["weight_map"]
    report = larqldb.extract(tmp_path / "out", tmp_path / "again.vindex")
    assert report.fingerprint == tiny.session.model["fingerprint"]
    assert sum(row.how_many for row in rows if row.what == "file" and row.how_many) == rows[0].how_many


def test_slots_are_given_up_where_that_is_asked_for(tiny, tmp_path):
    add(tiny, LAST, OWN)
    rows = compile_model(tiny.session, tmp_path / "out", slots="replace", texts=lambda: [IDS], ask=False)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["intermediate_size"] == OWN
    (given_up,) = [row for row in rows if row.what == "slots"]
    assert (given_up.where, given_up.how_many) == ("layer 4", 1)
    assert "the least used" in (tmp_path / "out" / "README.md").read_text()


def test_too_many_slots_are_refused(tiny, tmp_path):
    for number in range(60):
        add(tiny, LAST, OWN + number, seed=number)
    with pytest.raises(CannotCompile, match=r"60 slots are needed, and only .* SLOTS GROW"):
        compile_model(tiny.session, tmp_path / "out", slots="replace", texts=lambda: [IDS])
    assert list(tmp_path.glob("*out*")) == []


def test_another_file_can_be_compiled(tiny_extracted, tmp_path):
    with closing(larqldb.connect(":memory:")) as conn:
        rows = conn.execute("COMPILE ? INTO MODEL ?", (str(tiny_extracted), str(tmp_path / "out"))).fetchall()
    assert rows[0][0] == "model"


@pytest.mark.parametrize("name", ["../elsewhere.json", "model.safetensors"])
def test_files_that_would_land_elsewhere_are_refused(tiny, tmp_path, name):
    tiny.database.execute("INSERT INTO files VALUES (?, 'x')", (name,))
    with pytest.raises(DamagedVindex, match="holds a file named"):
        tiny.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / "out"),))
    assert not list(tmp_path.glob("*out*")) + list(tmp_path.glob("elsewhere*"))


def test_an_output_that_exists_is_left_alone(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExists):
        tiny.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / "out"),))
    with pytest.raises(NoFolder, match=r"there is no folder .* Make it first"):
        compile_model(tiny.session, tmp_path / "no" / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_path_must_say_something(tiny):
    with pytest.raises(ProgrammingError, match="the path is empty"):
        tiny.execute("COMPILE CURRENT INTO MODEL ''")


def test_what_a_killed_process_left_is_removed(tiny, tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "model.safetensors").write_bytes(b"half")
    compile_model(tiny.session, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]


@pytest.mark.parametrize("limit", [4_000, 100_000])
@pytest.mark.parametrize("name", ["out", "out.gguf"])
def test_a_full_disk_leaves_nothing_behind(tiny_extracted, tmp_path, limit, name):
    code = (
        "import sys, resource, larqldb\n"
        "connection = larqldb.connect(sys.argv[1], read_only=True)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n    connection.execute('COMPILE CURRENT INTO MODEL ?', (sys.argv[2],))\n"
        "except larqldb.OperationalError as problem:\n    print(type(problem).__name__, problem)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_extracted), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("OutputFailed could not write"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_level_without_tensors_is_refused(tiny_model, tmp_path):
    larqldb.extract(tiny_model, tmp_path / "b.vindex", level="browse")
    with closing(larqldb.connect(tmp_path / "b.vindex")) as conn, pytest.raises(MissingPart, match="--level all"):
        conn.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / "out"),))
    assert not (tmp_path / "out").exists()


def test_a_patch_for_another_model_is_refused(tiny, tmp_path):
    edits.add_patch(tiny.database, "p", "0" * 64)
    with pytest.raises(BadPatch, match="another model"):
        tiny.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / "out"),))


def test_numbers_too_large_for_a_type_are_refused(tiny, tmp_path):
    add(tiny, LAST, OWN, size=1e6)
    with pytest.raises(BadTensor, match="too large for F16"):
        tiny.execute("COMPILE CURRENT INTO MODEL ? QUANT F16", (str(tmp_path / "out"),))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("clauses", "error"),
    [
        ("FORMAT SAFETENSORS QUANT Q8_0", CannotCompile),
        ("QUANT Q2_K", LQLSyntaxError),
        ("SLOTS SHRINK", LQLSyntaxError),
    ],
)
def test_clauses_that_cannot_act_are_refused(tiny, tmp_path, clauses, error):
    with pytest.raises(error):
        tiny.execute(f"COMPILE CURRENT INTO MODEL ? {clauses}", (str(tmp_path / "out"),))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"form": "onnx"}, {"quant": "q2_k"}, {"slots": "shrink"}])
def test_arguments_that_are_none_of_the_known_are_refused(tiny, tmp_path, wrong):
    with pytest.raises(ProgrammingError, match="must be one of"):
        compile_model(tiny.session, tmp_path / "out", **wrong)


def test_vindexes_in_use_are_compiled_as_the_transaction_sees_them(tiny_vindex, tmp_path):
    with closing(larqldb.connect(tiny_vindex)) as one, closing(larqldb.connect(tiny_vindex)) as other:
        one.execute("BEGIN")
        add(one, LAST, OWN)
        one.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / "with"),))
        other.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / "without"),))
        one.rollback()
    widths = [
        json.loads((tmp_path / name / "config.json").read_text())["intermediate_size"] for name in ("with", "without")
    ]
    assert widths == [96, OWN]
