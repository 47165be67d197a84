"""Generation through a connection: INFER … GENERATE, generate() and Connection.generate."""

from __future__ import annotations

import json
import threading
from contextlib import closing

import pytest

import larqldb
from larqldb.errors import BadPrompt, MissingPart, NotANumber, OperationalError, ProgrammingError
from larqldb.storage.checksums import verify

PROMPT = "The capital of France is"


@pytest.fixture
def conn(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        yield connection


def greedy(connection, prompt, count):
    """The likeliest tokens one after the other, each from the whole text."""
    session = connection.session
    ids = session.tokenizer.encode(prompt)
    for _ in range(count):
        ids.append(int(session.runner.logits(ids).argmax()))
    return ids[-count:]


def test_greedy_equals_infer_token_by_token(conn):
    ids = greedy(conn, PROMPT, 15)
    text = "".join(conn.generate(PROMPT, max_tokens=15, ignore_eos=True))
    assert text == conn.session.tokenizer.decode(ids).rstrip("\ufffd")


def test_generate_is_a_row_of_text_and_tokens(conn):
    text = "".join(conn.generate(PROMPT, max_tokens=6))
    cursor = conn.execute(f'INFER "{PROMPT}" GENERATE 6')
    assert [column[0] for column in cursor.description][:2] == ["text", "tokens"]
    assert cursor.fetchall() == [(text, 6)]
    assert conn.execute("SELECT text, tokens FROM generate(?, 6)", (PROMPT,)).fetchall() == [(text, 6)]


def test_generate_joins_a_table_of_prompts(conn):
    conn.execute("CREATE TEMP TABLE prompts (text)")
    conn.executemany("INSERT INTO prompts VALUES (?)", [("Paris",), ("Rome",)])
    rows = conn.execute("SELECT p.text, g.text, g.tokens FROM prompts AS p JOIN generate(p.text, 3) AS g").fetchall()
    assert rows == [(prompt, "".join(conn.generate(prompt, max_tokens=3)), 3) for prompt in ("Paris", "Rome")]


def test_a_batch_answers_as_one_by_one(conn):
    conn.execute("CREATE TEMP TABLE prompts (text)")
    texts = ["Paris", PROMPT, "Rome is a city", "東京", "Paris"]
    conn.executemany("INSERT INTO prompts VALUES (?)", [(text,) for text in texts])
    rows = conn.execute(
        "SELECT position, prompt, rank, token, token_id, probability "
        "FROM infer_batch((SELECT json_group_array(text) FROM prompts), 3)"
    ).fetchall()
    assert [row[:3] for row in rows] == [(place, text, rank) for place, text in enumerate(texts) for rank in (1, 2, 3)]
    for place, text in enumerate(texts):
        alone = conn.execute("SELECT rank, token, token_id, probability FROM infer(?, 3)", (text,)).fetchall()
        together = [row[2:] for row in rows if row[0] == place]
        assert [row[:3] for row in together] == [row[:3] for row in alone]
        assert [row[3] for row in together] == pytest.approx([row[3] for row in alone], abs=1e-5)


@pytest.mark.parametrize("prompts", ["Paris", "{}", "[1]", 3, '["a"'])
def test_a_batch_needs_an_array_of_texts(conn, prompts):
    with pytest.raises(ProgrammingError, match="prompts must be a JSON array of texts"):
        conn.execute("SELECT * FROM infer_batch(?)", (prompts,)).fetchall()


def test_an_empty_prompt_in_a_batch(conn):
    with pytest.raises(BadPrompt, match="the prompt is empty"):
        conn.execute("SELECT * FROM infer_batch(?)", ('["a", ""]',)).fetchall()


def test_the_end_of_text_ends_it(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as conn:
        ids = greedy(conn, PROMPT, 8)
        end = next(i for i in range(1, 8) if ids[i] not in ids[:i])
        settings = json.dumps({"eos_token_id": [399, ids[end]]}).encode()
        conn.execute("INSERT OR REPLACE INTO files (name, content) VALUES ('generation_config.json', ?)", (settings,))
        conn.commit()
    with closing(larqldb.connect(tiny_vindex)) as conn:
        assert conn.execute("SELECT tokens FROM generate(?, 8)", (PROMPT,)).fetchone() == (end,)
        whole = "".join(conn.generate(PROMPT, max_tokens=8, ignore_eos=True))
        assert whole == conn.session.tokenizer.decode(ids).rstrip("\ufffd")


def test_stop_strings(conn):
    whole = "".join(conn.generate(PROMPT, max_tokens=20))
    stop = whole[3:6]
    assert "".join(conn.generate(PROMPT, max_tokens=20, stop=stop)) == whole[: whole.index(stop)]
    assert "".join(conn.generate(PROMPT, max_tokens=20, stop=["\x00never", stop])) == whole[: whole.index(stop)]
    assert "".join(conn.generate(PROMPT, max_tokens=20, stop=["\x00never"])) == whole


def test_seeds(conn):
    def draw(seed):
        return "".join(conn.generate(PROMPT, max_tokens=12, temperature=1.5, seed=seed))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_it_ends_where_the_context_is_full(conn):
    ids = conn.session.tokenizer.encode("Paris " * 40)
    prompt = conn.session.tokenizer.decode(ids[:120])
    start = len(conn.session.tokenizer.encode(prompt))
    ((_, tokens),) = conn.execute("SELECT * FROM generate(?, 1000)", (prompt,)).fetchall()
    assert start + tokens == conn.session.network.context + 1  # the last one is made, not read


def test_closing_the_iterator_ends_it(conn):
    pieces = conn.generate(PROMPT, max_tokens=100)
    assert next(pieces)
    pieces.close()
    assert list(pieces) == []
    assert conn.execute("SELECT 1").fetchall() == [(1,)]


def test_interrupting_the_connection_ends_it(conn):
    session = conn.session
    whole = type(session.tokenizer).decode
    calls = []

    def decode(self, ids):
        calls.append(1)
        if len(calls) == 8:
            conn.interrupt()
        return whole(self, ids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(session.tokenizer), "decode", decode)
        with pytest.raises(OperationalError, match="interrupted"):
            conn.execute("SELECT * FROM generate(?, 100)", (PROMPT,)).fetchall()
    assert len(calls) < 20


def test_two_threads_with_two_connections(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        expected = {prompt: "".join(connection.generate(prompt, max_tokens=30)) for prompt in ("Paris", "Rome")}
    made = {}

    def work(prompt):
        with closing(larqldb.connect(tiny_vindex, read_only=True)) as connection:
            made[prompt] = "".join(connection.generate(prompt, max_tokens=30))

    threads = [threading.Thread(target=work, args=(prompt,)) for prompt in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == expected


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_precisions_answer_nearly_the_same(tiny_vindex, conn, precision):
    exact = dict(conn.execute("SELECT token_id, probability FROM infer(?, 400)", (PROMPT,)))
    with closing(larqldb.connect(tiny_vindex, precision=precision)) as packed:
        near = dict(packed.execute("SELECT token_id, probability FROM infer(?, 400)", (PROMPT,)))
        assert packed.execute("SELECT tokens FROM generate(?, 4)", (PROMPT,)).fetchone() == (4,)
    assert near.keys() == exact.keys()
    assert near != exact
    assert sum(near.values()) == pytest.approx(1)
    if precision == "int8":  # 4 bits change the answers of random weights altogether
        assert sum(abs(near[token] - exact[token]) for token in exact) < 0.1


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"prompt": ""}, BadPrompt, "the prompt is empty"),
        ({"prompt": "Paris " * 200}, BadPrompt, "the model reads at most 128"),
        ({"prompt": 3}, ProgrammingError, "prompt must be text"),
        ({"max_tokens": 0}, ProgrammingError, "max_tokens must be a whole number from 1, not 0"),
        ({"temperature": -1}, ProgrammingError, "temperature must be"),
        ({"top_k": 0}, ProgrammingError, "top_k must be"),
        ({"top_p": 0.0}, ProgrammingError, "top_p must be"),
        ({"seed": 0.5}, ProgrammingError, "seed must be"),
        ({"stop": ""}, ProgrammingError, "stop must be text or a list of texts"),
        ({"stop": ["a", 1]}, ProgrammingError, "stop must be text or a list of texts"),
    ],
)
def test_bad_settings_fail_before_anything_runs(conn, settings, kind, message):
    with pytest.raises(kind, match=message):
        conn.generate(**{"prompt": PROMPT, **settings})


def test_a_browse_vindex_says_what_is_missing(tiny_model, tmp_path):
    path = tmp_path / "browse.vindex"
    larqldb.extract(tiny_model, path, level="browse")
    with closing(larqldb.connect(path)) as connection:
        with pytest.raises(MissingPart, match="generation needs attention weights"):
            connection.generate(PROMPT)
        with pytest.raises(MissingPart, match="larqldb extract"):
            connection.execute(f'INFER "{PROMPT}" GENERATE 3').fetchall()


def test_a_closed_connection(tiny_vindex):
    connection = larqldb.connect(tiny_vindex)
    connection.close()
    with pytest.raises(ProgrammingError, match="closed"):
        connection.generate(PROMPT)


@pytest.fixture
def runs(conn, monkeypatch):
    """How many prompts each run of the network took."""
    made, batch = [], type(conn.session.runner).batch

    def counting(runner, prompts):
        made.append(len(prompts))
        return batch(runner, prompts)

    monkeypatch.setattr(type(conn.session.runner), "batch", counting)
    return made


JOINS = [
    ("SELECT p.text, i.token FROM prompts AS p JOIN infer(p.text, 1) AS i", (), 20, [1, 2, 4, 8, 5]),
    ("SELECT text, token FROM prompts JOIN infer(prompts.text, 1) ORDER BY number DESC", (), 20, [1, 2, 4, 8, 5]),
    ("SELECT text, token FROM prompts, infer(text, 1) WHERE number < ?", (7,), 7, [1, 2, 4]),
    ("SELECT text, token FROM prompts JOIN infer(text, 1) ON number < :most", {"most": 7}, 7, [1, 2, 4]),
    ("WITH few AS (SELECT text FROM prompts LIMIT 3) SELECT * FROM few f JOIN infer(f.text, 1)", (), 3, [1, 2]),
    ("SELECT upper(text), token FROM prompts JOIN infer(upper(text), 1) WHERE rank = 1", (), 20, [1, 2, 4, 8, 5]),
    ("SELECT text, token FROM prompts JOIN infer(prompts.text, 1) LIMIT 2", (), 2, [1, 2]),
    ("SELECT text, token FROM prompts JOIN infer(text, 1) WHERE number IN (3, 4, 19)", (), 3, [1, 2]),
]


@pytest.mark.parametrize(("sql", "parameters", "count", "expected"), JOINS)
def test_a_join_runs_its_prompts_together(conn, runs, sql, parameters, count, expected):
    conn.execute("CREATE TEMP TABLE prompts (number, text)")
    conn.executemany("INSERT INTO prompts VALUES (?, ?)", [(n, f"{PROMPT} {'and ' * (n % 7)}{n}") for n in range(20)])
    cursor = conn.execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    assert runs == expected
    assert len(rows) == count
    for row in rows:
        alone = conn.execute("SELECT token FROM infer(?, 1)", (row[0],)).fetchone()
        assert alone == (row[names.index("token")],)


def test_a_join_of_prompts_that_cannot_be_foreseen(conn, runs):
    conn.execute("CREATE TEMP TABLE prompts (text)")
    conn.executemany("INSERT INTO prompts VALUES (?)", [("Paris",), ("Rome",), ("Paris",)])
    found = conn.execute(
        "SELECT p.text, i.token FROM (SELECT text, random() AS r FROM prompts) AS p "
        "JOIN infer(p.text || CASE WHEN p.r > 0 THEN ' a' ELSE ' b' END, 1) AS i"
    ).fetchall()
    assert [text for text, _ in found] == ["Paris", "Rome", "Paris"]
    assert sum(runs) >= 3


def test_a_bad_prompt_in_a_join_fails_where_it_is_asked(conn):
    conn.execute("CREATE TEMP TABLE prompts (text)")
    conn.executemany("INSERT INTO prompts VALUES (?)", [("Paris",), ("Rome",), ("",), ("Oslo",)])
    cursor = conn.execute("SELECT p.text FROM prompts AS p JOIN infer(p.text, 1)")
    assert cursor.fetchone() == ("Paris",)
    assert cursor.fetchone() == ("Rome",)
    with pytest.raises(BadPrompt, match="the prompt is empty"):
        cursor.fetchone()


@pytest.mark.parametrize(
    "statement",
    [
        'INFER "{}" TOP 3', 'INFER "{}" GENERATE 3', 'WALK "{}" MODE HYBRID', 'EXPLAIN INFER "{}"', 'TRACE "{}"',
        "SELECT * FROM infer('{}', 1, 'walk')", "SELECT * FROM infer_batch('[\"{}\"]')",
    ],
)  # fmt: skip
def test_a_damaged_row_is_said_and_named(tiny_vindex, monkeypatch, statement):
    monkeypatch.setattr("larqldb.functions.session._runners", {})  # connections of this process share weights
    with closing(larqldb.connect(tiny_vindex)) as connection:
        row = "SELECT layer, feature, length(down) FROM feature_vectors WHERE layer = 1 LIMIT 1"
        layer, feature, size = connection.execute(row).fetchone()
        connection.execute(
            "UPDATE feature_vectors SET down = ? WHERE layer = ? AND feature = ?", (b"\xff" * size, layer, feature)
        )
        connection.commit()
    with closing(larqldb.connect(tiny_vindex)) as connection:
        with pytest.raises(NotANumber, match="answer is not a number: a weight is damaged"):
            connection.execute(statement.format(PROMPT)).fetchall()
        assert [what for what, _ in verify(connection.database) if what.startswith("model.")] == [
            "model.layers.1.mlp.down_proj.weight"
        ]
