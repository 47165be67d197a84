from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from larqldb.errors import BadModelFile, BadPrompt, MissingPart
from larqldb.model.tokenizer import BYTE_ALPHABET, Tokenizer


def byte_level() -> Library:
    """A byte-level BPE with all bytes, two merges and two special tokens."""
    vocabulary = {character: i for i, character in enumerate(BYTE_ALPHABET)}
    for piece in ("Ġa", "th"):
        vocabulary.setdefault(piece, len(vocabulary))
    library = Library(models.BPE(vocab=vocabulary, merges=[("Ġ", "a"), ("t", "h")]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<|start|>", "<|end|>"])
    library.add_tokens([AddedToken("Ġplain", normalized=False)])
    return library


def sentence_piece() -> Library:
    """A BPE over characters with ▁ for space and byte fallback, as Llama 2 and Gemma have."""
    vocabulary = {"<bos>": 0, "<eos>": 1, "<unk>": 2}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    for piece in ("▁", "a", "b", "▁a", "▁▁"):
        vocabulary[piece] = len(vocabulary)
    merges = [("▁", "a"), ("▁", "▁")]
    library = Library(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    library.normalizer = normalizers.Replace(" ", "▁")
    library.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    library.add_special_tokens(["<bos>", "<eos>"])
    return library


def files(library: Library, **config) -> dict[str, bytes]:
    return {"tokenizer.json": library.to_str().encode(), "tokenizer_config.json": json.dumps(config).encode()}


BYTES = Tokenizer(files(byte_level()))
PIECES = Tokenizer(files(sentence_piece()))


@given(st.text())
def test_byte_level_text_comes_back(text):
    ids = BYTES.encode(text, special=False)
    assert BYTES.decode(ids) == text.replace("<|start|>", "").replace("<|end|>", "")


@given(st.text())
def test_sentence_piece_text_comes_back(text):
    assert PIECES.decode(PIECES.encode(text)) == text.replace("<bos>", "").replace("<eos>", "").replace("▁", " ")


@given(st.text())
def test_texts_of_tokens_join_to_the_text_where_no_character_is_split(text):
    joined = "".join(BYTES.text(i) for i in BYTES.encode(text))
    assert "\ufffd" in joined or joined == text


@pytest.mark.parametrize(
    ("piece", "text"),
    [("Ġa", " a"), ("th", "th"), ("Ċ", "\n"), ("ĉ", "\t"), ("!", "!"), ("Ã", "\ufffd"), ("<|end|>", "<|end|>")],
)
def test_byte_level_pieces(piece, text):
    token_id = BYTES._tokenizer.token_to_id(piece)
    assert BYTES.piece(token_id) == piece
    assert BYTES.text(token_id) == text


def test_added_tokens_stand_for_themselves():
    assert BYTES.text(BYTES._tokenizer.token_to_id("Ġplain")) == "Ġplain"


@pytest.mark.parametrize(
    ("piece", "text"),
    [("▁a", " a"), ("▁▁", "  "), ("<0x0A>", "\n"), ("<0x41>", "A"), ("<0xE2>", "\ufffd"), ("<bos>", "<bos>")],
)
def test_sentence_pieces(piece, text):
    token_id = PIECES._tokenizer.token_to_id(piece)
    assert PIECES.piece(token_id) == piece
    assert PIECES.text(token_id) == text


@pytest.mark.parametrize("tokenizer", [BYTES, PIECES])
def test_text_of_a_token_is_what_it_adds_when_decoded(tokenizer):
    before = tokenizer.encode("b", special=False)
    for token_id, text in enumerate(tokenizer.texts()):
        if tokenizer.piece(token_id) != "Ġplain":  # the library reads its Ġ as a space all the same
            assert tokenizer._tokenizer.decode([*before, token_id], skip_special_tokens=False) == "b" + text


def test_size_and_special_ids():
    assert BYTES.size == len(BYTES.texts()) == BYTES._tokenizer.get_vocab_size()
    assert {BYTES.piece(i) for i in BYTES.special_ids} == {"<|start|>", "<|end|>"}


@pytest.mark.parametrize("token_id", [-1, 10**9])
def test_ids_without_a_token(token_id):
    assert (BYTES.text(token_id), BYTES.piece(token_id)) == ("", "")


def template() -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 0)])


@pytest.mark.parametrize(
    ("post_processor", "config", "ids"),
    [
        (None, {}, [260]),
        (None, {"bos_token": "<bos>"}, [260]),
        (None, {"bos_token": "<bos>", "add_bos_token": False}, [260]),
        (None, {"bos_token": "<bos>", "add_bos_token": True}, [0, 260]),
        (None, {"bos_token": {"content": "<bos>", "lstrip": False}, "add_bos_token": True}, [0, 260]),
        (None, {"eos_token": "<eos>", "add_eos_token": True}, [260, 1]),
        (None, {"add_bos_token": True}, [260]),
        (template(), {}, [0, 260]),
        # the post-processor counts, as in transformers
        (template(), {"bos_token": "<bos>", "add_bos_token": False}, [0, 260]),
    ],
)
def test_bos_as_the_model_says(post_processor, config, ids):
    library = sentence_piece()
    if post_processor is not None:
        library.post_processor = post_processor
    tokenizer = Tokenizer(files(library, **config))
    assert tokenizer.encode("a") == ids
    assert tokenizer.encode("a", special=False) == [260]


def test_special_tokens_in_the_text_are_read_as_tokens():
    ids = BYTES.encode("<|start|>th<|end|>")
    assert [BYTES.piece(i) for i in ids] == ["<|start|>", "th", "<|end|>"]
    assert BYTES.decode(ids) == "th"


def test_truncation_and_padding_of_the_file_are_switched_off():
    library = byte_level()
    library.enable_truncation(4)
    library.enable_padding(length=64)
    assert len(Tokenizer(files(library)).encode("abcdefgh")) == 8


def test_half_a_surrogate_pair():
    with pytest.raises(BadPrompt, match="character 2 of the prompt"):
        BYTES.encode("a\ud800")


def test_without_tokenizer_config():
    assert Tokenizer({"tokenizer.json": byte_level().to_str().encode()}).encode("th") == BYTES.encode("th")


def test_missing_tokenizer():
    with pytest.raises(MissingPart, match=r"tokenizer\.json"):
        Tokenizer({"config.json": b"{}"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"", r"tokenizer\.json"),
        ("tokenizer.json", b"\xff\xfe", r"tokenizer\.json"),
        ("tokenizer.json", b'{"model": 5}', r"tokenizer\.json"),
        ("tokenizer_config.json", b"[]", r"tokenizer_config\.json: not a JSON object"),
        ("tokenizer_config.json", b"{", r"tokenizer_config\.json: not JSON"),
        ("tokenizer_config.json", b'{"add_bos_token": true, "bos_token": "<s>"}', "bos_token is '<s>'"),
        ("tokenizer_config.json", b'{"add_bos_token": true, "bos_token": 7}', "bos_token is 7"),
    ],
)
def test_files_that_cannot_be_read(name, content, message):
    with pytest.raises(BadModelFile, match=message):
        Tokenizer({**files(byte_level()), name: content})
