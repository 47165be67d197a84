"""The model card: README.md of a compiled directory, which says what was edited and how. It states no time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from larqldb.storage import edits

if TYPE_CHECKING:
    from larqldb.compile.outcomes import Outcome
    from larqldb.compile.state import BakedModel
    from larqldb.functions.session import Session


def card(session: Session, model: BakedModel, outcomes: Sequence[Outcome], how: Sequence[str]) -> str:
    """The card as Markdown; ``how`` are sentences about the way it was compiled."""
    source = str(session.model["source"])
    name = PurePath(source.partition("@")[0]).name
    lines = ["---", "tags:", "- larqldb", *_base(source), "---", "", f"# {name}, compiled by larqldb", ""]
    origin = source if source.startswith("hf://") else name  # a path says nothing to others
    lines += [f"Made from `{_code(origin)}` (fingerprint `{session.model['fingerprint']}`).", ""]
    if not model.live.edits:
        return "\n".join([*lines, "It has no edits: its tensors are those of that model.", *_paragraph(how)]) + "\n"
    patches = [patch for patch in edits.patches(session.db) if patch.active]
    if outcomes:
        lines += [
            "## Facts that were inserted",
            "",
            "| entity | relation | target | layer | |",
            "|---|---|---|---|---|",
        ]
        lines += [
            "| " + " | ".join(map(_cell, (one.entity, one.relation, one.target, one.layer, one.note))) + " |"
            for one in outcomes
        ]
        lines.append("")
    lines += ["## What was changed", ""]
    lines += [f"* {sentence}" for sentence in _changes(model)]
    lines += [f"* patch {_cell(patch.patch)}" + _described(patch.description) for patch in patches]
    return "\n".join([*lines, *_paragraph(how)]) + "\n"


def _base(source: str) -> list[str]:
    """Whose model it is, in the words of a hub's card, where that can be told."""
    if not source.startswith("hf://"):
        return []
    repository = "/".join(source.removeprefix("hf://").partition("@")[0].split("/")[:2])
    return [f"base_model: {json.dumps(repository)}"]


def _changes(model: BakedModel) -> list[str]:
    found = []
    for layer, slots in model.slots.items():
        parts = [f"{len(slots.places)} features added"] if slots.places else []
        parts += [f"{len(slots.emptied)} of its own taken away"] if slots.emptied else []
        parts += [f"{len(slots.given_up)} of its own, the least used, given up for them"] if slots.given_up else []
        found.append(f"Layer {layer}: {', '.join(parts)}.")
    return found


def _paragraph(sentences: Sequence[str]) -> list[str]:
    return ["", " ".join(sentences)] if sentences else []


def _described(description: str | None) -> str:
    return f": {_cell(description)}" if description else ""


def _cell(value: object) -> str:
    """A value as a table's cell holds it: on one line, none of it read as Markdown."""
    text = " ".join(str("" if value is None else value).split())
    return "".join(f"\\{character}" if character in "\\|`*_[]<>#" else character for character in text)


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
