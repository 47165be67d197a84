from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_label_tells_how_many_features_each_source_labelled(larqldb: Callable[..., Any], tiny_vindex: Path) -> None:
    done = larqldb("label", tiny_vindex, "--json")
    assert done.code == 0
    rows = json.loads(done.out)
    assert [row["source"] for row in rows] == ["probe", "cluster", "pattern"]
    assert rows[0] == {"source": "probe", "relations": 0, "features": 0, "share": 0.0}
    labelled = json.loads(larqldb(tiny_vindex, "SELECT sum(labelled) AS n FROM layers", "--json").out)
    assert labelled == [{"n": sum(row["features"] for row in rows)}]
    assert larqldb("label", tiny_vindex, "--json") == done


def test_there_is_no_such_file(larqldb: Callable[..., Any], tmp_path: Path) -> None:
    done = larqldb("label", tmp_path / "none.vindex")
    assert done.code == 1
    assert "larqldb extract" in done.err
