"""What may be asked: OpenAI's request bodies, as far as these models can answer them.

Unknown fields are refused by name. Fields of OpenAI's that nothing here can honour are taken where
they ask for nothing (`logprobs: false`), and refused where they ask for something.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

MOST_CHARACTERS = 100_000  # of a text; models take far fewer tokens, which is checked later
MOST_CHOICES = 8


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair: send it as UTF-8") from None
    return text


def text(value: str) -> str:
    """A text that came where pictures may come too."""
    if len(value) > MOST_CHARACTERS:
        raise ValueError(f"a text has at most {MOST_CHARACTERS:,} characters")
    return _unicode(value)


def _nothing(value: Any) -> Any:
    if value not in (None, 0, 0.0, False, [], {}, "", "auto", "none"):
        raise ValueError("these models cannot do this: leave it out")
    return value


Text = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS), AfterValidator(_unicode)]
Name = Annotated[str, StringConstraints(max_length=200), AfterValidator(_unicode)]
NOTHING = {"enum": [None, 0, False, [], {}, "", "auto", "none"]}
Unsupported = Annotated[Any, BeforeValidator(_nothing), WithJsonSchema(NOTHING)]
Ignored = Annotated[Any, Field(description="taken, and without effect")]
Seed = Annotated[int, Field(ge=0, lt=2**62)]


class Request(BaseModel):
    """A body; numbers are finite and no strings, unknown fields an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class StreamOptions(Request):
    include_usage: bool = False
    include_obfuscation: Ignored = None


class Generation(Request):
    """How an answer is written; `top_k` and `repetition_penalty` are ours."""

    model: Name = ""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = 1
    stop: Name | Annotated[list[Name], Field(max_length=4)] | None = None
    seed: Seed | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Ignored = None
    metadata: Ignored = None
    store: Unsupported = None
    logit_bias: Unsupported = None
    presence_penalty: Unsupported = None
    frequency_penalty: Unsupported = None

    @property
    def stops(self) -> tuple[str, ...]:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in stops if stop)

    @property
    def with_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @model_validator(mode="after")
    def _streams(self):
        if self.stream_options and not self.stream:
            raise ValueError("stream_options are for stream: true")
        return self


class CompletionRequest(Generation):
    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=16)]
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 16
    echo: bool = False
    logprobs: Unsupported = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    suffix: Unsupported = None


class TextPart(Request):
    type: Literal["text"]
    text: Text


class ImageUrl(Request):
    url: Annotated[str, Field(min_length=1)]
    detail: Ignored = None


class ImagePart(Request):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Request):
    data: Annotated[str, Field(min_length=1)]
    format: Name = "wav"


class AudioPart(Request):
    type: Literal["input_audio"]
    input_audio: InputAudio


Part = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class Message(Request):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(min_length=1, max_length=16)] | None
    name: Ignored = None
    refusal: Ignored = None
    audio: Unsupported = None
    annotations: Ignored = None
    tool_calls: Unsupported = None


class TextFormat(Request):
    type: Literal["text"]


class ChatRequest(Generation):
    messages: Annotated[list[Message], Field(min_length=1, max_length=64)]
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    logprobs: Unsupported = None
    top_logprobs: Unsupported = None
    tools: Unsupported = None
    tool_choice: Unsupported = None
    parallel_tool_calls: Ignored = None
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None


class ImageRequest(Request):
    """`seed`, `guidance_scale`, `steps` and `negative_prompt` are ours (openai: `extra_body`)."""

    prompt: Text
    model: Name = ""
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = 1
    size: Annotated[str, StringConstraints(pattern=r"^(auto|\d{1,5}x\d{1,5})$")] | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    seed: Seed | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=30)] | None = None
    steps: Annotated[int, Field(ge=1, le=100)] | None = None
    negative_prompt: Text = ""
    user: Ignored = None
    quality: Ignored = None
    style: Ignored = None
    background: Ignored = None
    moderation: Ignored = None


def _text_or_picture(value: str) -> str:
    return value if value[:11].lower() == "data:image/" else text(value)


Input = Annotated[str, AfterValidator(_text_or_picture)]


class EmbeddingRequest(Request):
    """Texts, and pictures as data URIs."""

    input: Input | Annotated[list[Input], Field(min_length=1, max_length=64)]
    model: Name = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Unsupported = None
    user: Ignored = None


class CaptionRequest(Request):
    """A picture as a data URI."""

    image: str
    model: Name = ""
    max_tokens: Annotated[int, Field(ge=1, le=1000)] = 32
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Seed = 0


class VqaRequest(CaptionRequest):
    """A picture, and a question in words or as a recording (base64)."""

    question: Text = ""
    audio: str = ""

    @model_validator(mode="after")
    def _asks(self):
        if bool(self.question.strip()) == bool(self.audio):
            raise ValueError("ask either by `question` or by `audio`")
        return self
