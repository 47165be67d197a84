"""Conversations in the form a model was trained on: its own chat template, and what of it was read already.

Templates are Jinja, run in Jinja's sandbox with what transformers gives them:
https://huggingface.co/docs/transformers/chat_templating
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from larqldb.errors import BadModelFile, MissingPart
from larqldb.model.generation import Generation
from larqldb.model.sampling import Sampling

if TYPE_CHECKING:
    from collections.abc import Collection

    from larqldb.model.runner import Runner
    from larqldb.model.tokenizer import Tokenizer

Message = dict[str, str]  # role (system, user, assistant) and content


class ChatTemplate:
    """The chat template among a model's files (name → content).

    That is ``chat_template.jinja``, or ``chat_template`` in tokenizer_config.json. Raises MissingPart where there is
    none, as for base models, BadModelFile where it is no template.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        # imported here: nothing else needs it, and it takes 50 ms
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        config = json.loads(files.get("tokenizer_config.json", b"{}"))
        source = files["chat_template.jinja"].decode() if "chat_template.jinja" in files else _template(config)
        if source is None:
            raise MissingPart(
                statement="chat",
                part="a chat template",
                remedy="This is a base model, which continues text: use larqldb run instead",
            )
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
        environment.globals["raise_exception"] = self._refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self._error = TemplateError
        self._tokens = {
            name: _content(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        }
        try:
            self._template = environment.from_string(source)
        except TemplateError as problem:
            raise _bad(problem) from None

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation as text that the assistant's next words follow; BadModelFile where the template fails."""
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=True, **self._tokens)
        except (self._error, TypeError, ValueError) as problem:
            raise _bad(problem) from None

    def _refuse(self, message: str) -> NoReturn:
        raise self._error(message)


class Chat:
    """A conversation: each reply reads only what the network has not read yet.

    ``messages`` are those so far; ``system`` is what stands before them.
    """

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        *,
        stop_ids: Collection[int],
        max_tokens: int,
        sampling: Sampling = Sampling(),  # noqa: B008 - it is immutable
        stop: Sequence[str] = (),
        system: str | None = None,
    ) -> None:
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self._decoder = runner.decoder()
        self._runner, self._tokenizer, self._template = runner, tokenizer, template
        self._stop_ids, self._max_tokens, self._sampling, self._stop = stop_ids, max_tokens, sampling, stop

    def reply(self, text: str) -> Iterator[str]:
        """What the model answers, in pieces; kept, as far as it was made, as the assistant's message.

        Raises BadPrompt, the message not kept, where the conversation is longer than the model's context.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        ids = self._tokenizer.encode(self._template.render(asked), special=False)
        self._runner.check(ids)
        known = _common(ids[:-1], self._decoder.ids)  # at least one token must be read to know what follows
        self._decoder.rewind(known)
        made = Generation(
            self._decoder,
            self._tokenizer,
            ids[known:],
            max_tokens=self._max_tokens,
            sampling=self._sampling,
            stop=self._stop,
            stop_ids=self._stop_ids,
        )
        answer: list[str] = []
        try:
            for piece in made:
                answer.append(piece)
                yield piece
        finally:
            self.messages = [*asked, {"role": "assistant", "content": "".join(answer)}]


def _template(config: Mapping[str, Any]) -> str | None:
    """The template in tokenizer_config.json: a string, or the default among several with names."""
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _content(token: object) -> str:
    """A special token's text, from a string or an object with its content."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two texts begin with in common."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def _bad(problem: Exception) -> BadModelFile:
    return BadModelFile(
        path="the chat template", problem=str(problem), remedy="Check that it came over whole, or use larqldb run"
    )
