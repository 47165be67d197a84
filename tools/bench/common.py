"""What every benchmark shares: timing, the machine's description, and the file its figures go to.

A figure is a ratio of two things measured side by side in one run, on an otherwise idle machine; each is the median of
several repetitions. ``save`` writes tools/bench/results/NAME.json, from which README's table is made by ``readme``.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Figure:
    """One line of README's table: ``value`` in ``unit``, the ``bar`` it is held against, and the raw measurements."""

    figure: str
    value: float
    unit: str
    bar: str
    measured: dict[str, Any] = field(default_factory=dict)


def median(action: Callable[[], object], repetitions: int = 5) -> float:
    """Median wall time of an action in seconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def in_a_process(code: str, *arguments: object) -> dict[str, Any]:
    """Run Python code in a process of its own; the JSON object it prints last, with its peak memory as ``peak_mb``."""
    # Not ru_maxrss, which begins with what the process that starts this one holds.
    code += (
        "\nimport json; status = dict(line.split(':') for line in open('/proc/self/status'))"
        "\nresult['peak_mb'] = int(status['VmHWM'].split()[0]) / 1024"
        "\nprint(json.dumps(result))"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def model(name: str, *arguments: str) -> Path:
    """A real model, fetched when it is not in the user's cache."""
    command = [sys.executable, str(ROOT / "tools" / "fetch_model"), name, *arguments]
    return Path(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


def save(script: str, figures: list[Figure], *, keep: bool = False) -> None:
    """Write a script's figures with the machine, the versions and the commit they were measured on.

    With ``keep`` figures that the file holds and that were not measured now stay, each with its own commit.
    """
    import apsw
    import numpy
    import onnxruntime

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    result: dict[str, Any] = {
        "script": Path(script).name,
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "onnxruntime": onnxruntime.__version__,
            "sqlite": apsw.sqlite_lib_version(),
        },
        "commit": commit.stdout.strip(),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{Path(script).stem}.json"
    made = {figure.figure: asdict(figure) for figure in figures}
    if keep and path.exists():
        old = json.loads(path.read_text())
        before = {each["figure"]: {"commit": old["commit"], **each} for each in old["figures"]}
        made = before | made
    result["figures"] = list(made.values())
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for figure in figures:
        print(f"{figure.figure}: {figure.value:.4g} {figure.unit} ({figure.bar})")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
