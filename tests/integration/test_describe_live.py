"""DESCRIBE asks the real model about an entity that no probe has asked about."""

from __future__ import annotations

import shutil
from pathlib import Path

import larqldb

WORDINGS = ["The capital of {entity} is", "The capital city of {entity} is", "{entity}'s capital is"]
KNOWN = ["France", "Germany", "Italy", "Spain", "Greece", "Poland", "Egypt", "Kenya", "Peru", "China", "Norway", "Cuba"]


def test_an_entity_that_was_never_probed(smollm2_vindex: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(smollm2_vindex, tmp_path / "smollm2.vindex"))
    larqldb.probe(path, relation="capital", templates=WORDINGS, entities=KNOWN)
    sql = "SELECT relation, target, confidence, layer, feature FROM describe(?) WHERE source = 'probe'"
    with larqldb.connect(path) as connection:
        (relation, target, confidence, layer, feature), *_ = connection.execute(sql, ("Austria",)).fetchall()
        assert (relation, target) == ("capital", "Vienna")
        assert 0 < confidence <= 1
        assert connection.execute("SELECT 1 FROM features WHERE layer = ? AND feature = ?", (layer, feature)).fetchone()
        stored = (
            "SELECT max(confidence) FROM edges WHERE relation = 'capital' AND target = 'Vienna' AND entity = 'Austria'"
        )
        assert connection.execute(stored).fetchone() == (confidence,)
        assert connection.execute(sql, ("because",)).fetchall() == []  # no country: nobody asks for its capital
        first = connection.execute('DESCRIBE "austria" BRIEF').fetchone()
        assert first is not None
        assert first[:2] == ("capital", "Vienna")
    connection.close()
