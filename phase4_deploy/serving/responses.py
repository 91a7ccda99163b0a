"""What is answered, as the API's document has it; the answers themselves are plain dictionaries."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

EVENTS = "text/event-stream"


class Answer(BaseModel):
    """Holds these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Details(Answer):
    cached_tokens: int


class Usage(Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Details


class Choice(Answer):
    index: int
    finish_reason: Literal["stop", "length"]
    logprobs: None


class CompletionChoice(Choice):
    text: str


class Said(Answer):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(Choice):
    message: Said


class Written(Answer):
    id: str
    created: int
    model: str
    usage: Usage


class Completion(Written):
    object: Literal["text_completion"]
    choices: list[CompletionChoice]


class ChatCompletion(Written):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class Drawing(Answer):
    b64_json: str
    seed: int


class Images(Answer):
    created: int
    data: list[Drawing]


class Caption(Answer):
    caption: str
    model: str


class VqaAnswer(Answer):
    answer: str
    model: str


class Heard(Answer):
    type: Literal["duration"]
    seconds: float


class Transcript(Answer):
    text: str
    usage: Heard


class Segment(Answer):
    id: int
    start: float
    end: float
    text: str


class VerboseTranscript(Transcript):
    task: Literal["transcribe"]
    language: Literal["english"]
    duration: float
    segments: list[Segment]


class Embedding(Answer):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Read(Answer):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Answer):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Read


class Model(Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["vermeil"]
    artifact: str


class Models(Answer):
    object: Literal["list"]
    data: list[Model]


class Alive(Answer):
    status: Literal["alive"]


class Ready(Answer):
    status: Literal["ready"]
    models: list[str]


class Problem(Answer):
    message: str
    type: str
    param: str | None
    code: str | None


class Refusal(Answer):
    """OpenAI's form of an error."""

    error: Problem


MEANINGS = {
    400: "cannot be answered as asked", 401: "no valid key", 404: "no such model",
    408: "the body came too slowly", 413: "larger than the limits", 422: "a value is not valid",
    429: "too many requests, or the queue is full; see Retry-After", 500: "the server failed",
    503: "the keys' database does not answer, or the server is starting or stopping",
}  # fmt: skip


def told(model: Any, *others: str) -> dict[int | str, dict[str, Any]]:
    """A path's good answer: JSON, or text of other kinds where that was asked for."""
    plain = {"schema": {"type": "string"}}
    content = {kind: {} if kind == EVENTS else plain for kind in others}
    return {200: {"description": "as asked", "model": model, "content": content}}


def may_be(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Its other answers."""
    return {status: {"description": MEANINGS[status], "model": Refusal} for status in statuses}
