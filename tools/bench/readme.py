"""Write the figures in tools/bench/results into README.md, between its markers; --check only compares."""

from __future__ import annotations

import json
import sys

from common import RESULTS, ROOT

START, END = "<!-- figures: made by tools/bench/readme.py -->", "<!-- end of figures -->"


def table() -> str:
    """The figures of every script as one Markdown table."""
    lines = ["| figure | measured | bar |", "|---|---|---|"]
    machines = set()
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        machines.add(f"{result['machine']['processor']}, {result['machine']['cores']} cores")
        for figure in result["figures"]:
            unit = "" if figure["unit"] == "ratio" else f" {figure['unit']}"
            lines.append(f"| {figure['figure']} | {figure['value']:.3g}{unit} | {figure['bar']} |")
    return "\n".join((*lines, "", f"Measured on {'; '.join(sorted(machines))}."))


def main() -> int:
    path = ROOT / "README.md"
    text = path.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    new = f"{before}{START}\n{table()}\n{END}{after}"
    if "--check" in sys.argv:
        return int(new != text)
    path.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
