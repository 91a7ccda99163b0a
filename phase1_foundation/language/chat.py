"""The one chat template: turns of user and assistant, with slots for pictures and audio.

    <|user|><|image|>What is this?<|end|><|assistant|>A dog.<|end|>

Captioning, questions about pictures, transcription and plain talk all use it; they differ only in
what the user's turn says.
"""

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict

from shared.errors import VermeilError, nearest

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
IMAGE, AUDIO = "<|image|>", "<|audio|>"
SYMBOLS = (PAD, BOS, EOS, UNKNOWN, USER, ASSISTANT, END, IMAGE, AUDIO)  # ids 0, 1, 2, ...
ROLES = {"user": USER, "assistant": ASSISTANT}
SLOTS = {"image": IMAGE, "audio": AUDIO}


class Part(TypedDict):
    """A piece of a message: text, or the slot of a picture or sound."""

    type: Literal["text", "image", "audio"]
    text: NotRequired[str]


class Message(TypedDict):
    """One turn; its content is a text or a list of parts."""

    role: Literal["user", "assistant"]
    content: str | list[Part]


def render(messages: Sequence[Message], *, reply: bool) -> list[str]:
    """A conversation as a list of reserved symbols and literal texts."""
    rendered = [BOS]
    for message in messages:
        role, content = message["role"], message["content"]
        if role not in ROLES:
            raise VermeilError(f"a message has the role '{role}'", nearest(role, list(ROLES)))
        parts: list[Part] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else content
        )
        rendered += [ROLES[role], *(_render_part(part) for part in parts), END]
    return rendered + [ASSISTANT] * reply


def _render_part(part: Part) -> str:
    if part["type"] == "text":
        return Literally(part.get("text", ""))
    if part["type"] not in SLOTS:
        raise VermeilError(
            f"a message part has the type '{part['type']}'", nearest(part["type"], ["text", *SLOTS])
        )
    return SLOTS[part["type"]]


class Literally(str):
    """A user's text: "<|end|>" in it stays seven characters and closes no turn."""


# The same template as `transformers` renders it.
JINJA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] in ['user', 'assistant'] %}{{ '<|' + message['role'] + '|>' }}"
    "{% else %}{{ raise_exception('a message has the role ' + message['role']) }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] in ['image', 'audio'] %}{{ '<|' + part['type'] + '|>' }}"
    "{% else %}{{ raise_exception('a message part has the type ' + part['type']) }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
