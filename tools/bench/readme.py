"""Write the figures in tools/bench/results into README.md, between its markers; --check only compares."""

from __future__ import annotations

import json
import sys

from common import RESULTS, ROOT

START, END = "<!-- figures: made by tools/bench/readme.py -->", "<!-- end of figures -->"
EDITS = "edits"  # results with a table of their own, one row a run
EDITS_START, EDITS_END = "<!-- edits: made by tools/bench/readme.py -->", "<!-- end of edits -->"


def table() -> str:
    """The figures of every script as one Markdown table."""
    lines = ["| figure | measured | bar |", "|---|---|---|"]
    machines = set()
    for path in sorted(RESULTS.glob("*.json")):
        if path.stem == EDITS:
            continue
        result = json.loads(path.read_text())
        machines.add(f"{result['machine']['processor']}, {result['machine']['cores']} cores")
        for figure in result["figures"]:
            unit = "" if figure["unit"] == "ratio" else f" {figure['unit']}"
            lines.append(f"| {figure['figure']} | {figure['value']:.3g}{unit} | {figure['bar']} |")
    return "\n".join((*lines, "", f"Measured on {'; '.join(sorted(machines))}."))


def edits() -> str:
    """What edits do, as a Markdown table: shares in percent."""
    path = RESULTS / f"{EDITS}.json"
    if not path.exists():
        return ""
    lines = [
        "| model | method | facts | efficacy | exact | unseen | neighbours | others | KL | s a fact |",
        "|" + "---|" * 10,
    ]
    for figure in json.loads(path.read_text())["figures"]:
        row = figure["measured"]
        names = ("efficacy", "exact", "unseen", "neighbours", "others")
        shares = [f"{100 * row[name]:.1f} %" if row["counts"][name] else "" for name in names]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.2g}"
        run = f"{row['facts']}, each alone" if row["run"] == "single" else row["run"]
        lines.append(
            f"| {row['model']} | {row['method']} | {run} | {' | '.join(shares)} | {row['kl']:.2g} | {seconds} |"
        )
    return "\n".join(lines)


def _between(text: str, start: str, end: str, content: str) -> str:
    before, rest = text.split(start)
    _, after = rest.split(end)
    return f"{before}{start}\n{content}\n{end}{after}" if content else text


def main() -> int:
    path = ROOT / "README.md"
    text = path.read_text()
    new = _between(_between(text, START, END, table()), EDITS_START, EDITS_END, edits())
    if "--check" in sys.argv:
        return int(new != text)
    path.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
