"""Opening a vindex and asking it something small, against bare apsw; the first and a later INFER."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from common import Figure, in_a_process, model, save

ASK = """
import sys, time
if sys.argv[2] == 'larqldb':
    import larqldb as module
    connect = module.connect
    ask = lambda c: c.execute('SELECT count(*) FROM features').fetchone()
else:
    import apsw as module
    connect = module.Connection
    ask = lambda c: c.execute('SELECT count(*) FROM features').fetchone()
connects, asks = [], []
for _ in range(15):
    start = time.perf_counter(); connection = connect(sys.argv[1]); middle = time.perf_counter()
    ask(connection); end = time.perf_counter()
    connection.close()
    connects.append(middle - start); asks.append(end - start)
result = {'first_connect': connects[0], 'connect': sorted(connects)[7], 'connect_and_count': sorted(asks)[7]}
"""
INFER = """
import sys, time, larqldb
start = time.perf_counter()
connection = larqldb.connect(sys.argv[1])
ask = lambda: connection.execute('INFER ? TOP 5', (sys.argv[2],)).fetchall()
first_row = ask()[0]
first = time.perf_counter() - start
times = []
for _ in range(9):
    start = time.perf_counter(); ask(); times.append(time.perf_counter() - start)
result = {'first_s': first, 'warm_s': sorted(times)[4], 'token': first_row[1], 'probability': first_row[3]}
"""
PROMPTS = {"smollm2": "The capital of France is", "gemma3": "The Eiffel Tower is located in the city of"}


def main() -> None:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, title in (("smollm2", "SmolLM2"), ("gemma3", "Gemma 3")):
            path = Path(folder) / f"{name}.vindex"
            in_a_process("import sys, larqldb; larqldb.extract(*sys.argv[1:]); result = {}", model(name), path)
            if name == "smollm2":
                runs = [(in_a_process(ASK, path, "larqldb"), in_a_process(ASK, path, "apsw")) for _ in range(5)]
                ours = statistics.median(run[0]["connect_and_count"] for run in runs)
                bare = statistics.median(run[1]["connect_and_count"] for run in runs)
                connect = statistics.median(run[0]["first_connect"] for run in runs)
                figures += [
                    Figure(
                        "connect and count(*) of features, over bare apsw", ours / bare, "ratio", "reported",
                        {"larqldb_s": ours, "apsw_s": bare},
                    ),
                    Figure("connect, the first in a process", connect * 1e3, "ms", "< 20"),
                ]  # fmt: skip
            run = in_a_process(INFER, path, PROMPTS[name])
            figures += [
                Figure(f"{title}: first INFER in a process, connect included", run["first_s"], "s", "reported", run),
                Figure(f"{title}: INFER again", run["warm_s"] * 1e3, "ms", "reported"),
            ]
    save(__file__, figures)


if __name__ == "__main__":
    main()
