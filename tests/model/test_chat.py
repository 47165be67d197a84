from __future__ import annotations

import json

import pytest

from larqldb.errors import BadModelFile, BadPrompt, MissingPart
from larqldb.model.architectures import resolve
from larqldb.model.chat import Chat, ChatTemplate
from larqldb.model.runner import Runner
from larqldb.model.tokenizer import Tokenizer
from tests.tiny import LLAMA, weights
from tests.tiny import tokenizer as tiny_tokenizer

TEMPLATE = """\
{{ bos_token }}
{%- for m in messages %}
    {%- if m.role not in ('system', 'user', 'assistant') %}{{ raise_exception('unknown role ' + m.role) }}{% endif %}
    {{- '<' + m.role + '>' + m.content }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% endif %}
"""


def files(template: object = None, **config: object) -> dict[str, bytes]:
    named = {} if template is None else {"chat_template": template}
    return {"tokenizer_config.json": json.dumps({**config, **named}).encode()}


def test_what_a_template_is_given():
    template = ChatTemplate(files(TEMPLATE, bos_token={"content": "<s>"}))
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert template.render(messages) == "<s><user>a<assistant>b<user>c<assistant>"


def test_a_file_of_its_own_goes_first():
    both = {
        **files("wrong"),
        "chat_template.jinja": b"right {{ messages|tojson }}{% for m in messages %}{% break %}{% endfor %}",
    }
    assert ChatTemplate(both).render([{"role": "user", "content": "é"}]) == 'right [{"role": "user", "content": "é"}]'


def test_the_default_among_several():
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    assert ChatTemplate(files(several)).render([]) == "plain"


@pytest.mark.parametrize("given", [{}, files(), files([{"name": "rag", "template": "x"}])])
def test_none(given):
    with pytest.raises(MissingPart, match="chat needs a chat template"):
        ChatTemplate(given)


@pytest.mark.parametrize(
    "source", ["{% if %}", "{{ raise_exception('no system role') }}", "{{ ''.__class__.mro() }}", "{{ 1 + 'a' }}"]
)
def test_templates_that_fail(source):
    with pytest.raises(BadModelFile, match="chat template"):
        ChatTemplate(files(source)).render([])


@pytest.fixture(scope="module")
def model():
    """A tiny network, its tokenizer and a template."""
    made = weights(LLAMA, "float32")
    slots = {(slot.role, slot.layer): slot.name for slot in _tensors()}

    def weight(role, layer):
        array = made[slots[role, layer]]
        return array.T if role == "down" else array

    tokenizer = Tokenizer({"tokenizer.json": tiny_tokenizer().to_str().encode()})
    return Runner(resolve(LLAMA), weight, threads=1), tokenizer, ChatTemplate(files(TEMPLATE))


def _tensors():
    from larqldb.model.architectures import tensors

    return tensors(resolve(LLAMA))


def test_a_conversation_reads_what_is_new_and_answers_as_if_it_read_all(model):
    chat = Chat(*model, stop_ids=(), max_tokens=3)
    first, second = "".join(chat.reply("Paris?")), "".join(chat.reply("Rome?"))
    assert [message["role"] for message in chat.messages] == ["user", "assistant", "user", "assistant"]
    assert [message["content"] for message in chat.messages] == ["Paris?", first, "Rome?", second]
    whole = Chat(*model, stop_ids=(), max_tokens=3)
    whole.messages = chat.messages[:2]
    assert "".join(whole.reply("Rome?")) == second


def test_a_reply_cut_short_is_kept_as_far_as_it_came(model):
    chat = Chat(*model, stop_ids=(), max_tokens=20, system="Be brief.")
    pieces = chat.reply("Paris?")
    began = next(pieces)
    pieces.close()
    assert chat.messages[0] == {"role": "system", "content": "Be brief."}
    assert chat.messages[-1] == {"role": "assistant", "content": began}


def test_a_conversation_longer_than_the_context(model):
    chat = Chat(*model, stop_ids=(), max_tokens=2)
    with pytest.raises(BadPrompt, match="the model reads at most 128"):
        list(chat.reply("東京" * 80))
    assert chat.messages == []
