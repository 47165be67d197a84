from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from larqldb.model.text_stream import StopStrings, TextStream
from larqldb.model.tokenizer import Tokenizer
from tests.tiny import tokenizer as tiny_tokenizer

TOKENIZER = Tokenizer({"tokenizer.json": tiny_tokenizer().to_str().encode()})


def streamed(ids, before=()):
    stream = TextStream(TOKENIZER, before)
    return [*(stream.add(token) for token in ids), stream.finish()]


@given(st.text(max_size=30), st.text(max_size=30))
def test_pieces_join_to_the_text_and_none_ends_within_a_character(before, text):
    ids = TOKENIZER.encode(text)
    pieces = streamed(ids, TOKENIZER.encode(before))
    assert "".join(pieces) == text.rstrip("\ufffd") or "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_of_several_tokens_comes_whole():
    ids = TOKENIZER.encode("\U0001f600")
    assert len(ids) == 4
    assert streamed(ids) == ["", "", "", "\U0001f600", ""]


def test_a_character_that_never_ends_is_left_out():
    ids = TOKENIZER.encode("a\U0001f600")
    assert streamed(ids[:-1]) == ["a", "", "", "", ""]


def test_bytes_that_are_no_text_do_not_hold_back_what_follows():
    (byte,) = [token for token in range(TOKENIZER.size) if TOKENIZER.piece(token) == "ÿ"]
    assert "".join(streamed([byte] * 6 + TOKENIZER.encode("end"))).endswith("\ufffdend")


@given(
    st.lists(st.text("abc", max_size=3), max_size=8),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stop_strings_end_the_text_wherever_pieces_begin(pieces, strings):
    stop, out = StopStrings(strings), ""
    for piece in pieces:
        out += stop.add(piece)
        if stop.found:
            break
    else:
        out += stop.finish()
    whole = "".join(pieces)
    places = [whole.find(string) for string in strings if string in whole]
    if not places:
        assert out == whole
        assert stop.found is None
    else:
        assert whole.startswith(out + stop.found)
        assert not any(string in out for string in strings)


def test_only_what_may_begin_a_stop_string_waits():
    stop = StopStrings(["\n\nQ:"])
    assert stop.add("one\n") == "one"
    assert stop.add("two\n\n") == "\ntwo"
    assert stop.add("Q: x") == ""
    assert stop.found == "\n\nQ:"


def test_no_stop_strings():
    stop = StopStrings([])
    assert stop.add("text") == "text"
    assert stop.finish() == ""
