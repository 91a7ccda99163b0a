"""What the demo and other programs call: the same methods, in this process or over HTTP."""

import base64
import io
import json
import mimetypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shared.errors import VermeilError

if TYPE_CHECKING:
    from PIL.Image import Image

    from phase4_deploy.serving.service import Service

Spoken = tuple[float, float, str]  # from, to (s), text


class Assistant(Protocol):
    """One model that reads, writes, looks, answers, draws and listens.

    A user's mistake is a VermeilError, wherever the model runs.
    """

    def write(
        self, prompt: str, *, max_tokens: int = 96, temperature: float = 0.8, top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[str]: ...  # fmt: skip

    def caption(self, picture: "Image") -> str: ...

    def ask(self, picture: "Image", question: str = "", recording: Path | None = None) -> str: ...

    def draw(
        self, prompt: str, *, negative_prompt: str = "", guidance_scale: float | None = None,
        steps: int | None = None, seed: int = 0, number: int = 1,
    ) -> list["Image"]: ...  # fmt: skip

    def transcribe(self, recording: Path) -> Iterator[Spoken]: ...

    def chat(self, messages: Sequence[dict[str, Any]]) -> Iterator[str]: ...

    def models(self) -> list[str]: ...


class Remote:
    """A server by its URL."""

    def __init__(self, url: str, key: str = "", *, transport: Any = None):
        import httpx

        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self.http = httpx.Client(
            base_url=self.url, headers=headers, timeout=300.0, transport=transport
        )

    def write(
        self, prompt: str, *, max_tokens: int = 96, temperature: float = 0.8, top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[str]:  # fmt: skip
        """New text, piece by piece."""
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": temperature,
                "top_p": top_p, "seed": seed, "stream": True}  # fmt: skip
        for event in self._events("/v1/completions", body):
            yield from (choice["text"] for choice in event["choices"])

    def caption(self, picture: "Image") -> str:
        """What a picture shows."""
        return self._post("/v1/captions", {"image": data_uri(picture)})["caption"]

    def ask(self, picture: "Image", question: str = "", recording: Path | None = None) -> str:
        """The answer to a question about a picture, typed or spoken."""
        body: dict[str, Any] = {"image": data_uri(picture)}
        if recording is not None:
            body["audio"] = base64.b64encode(content_of(recording)).decode()
        else:
            body["question"] = question
        return self._post("/v1/vqa", body)["answer"]

    def draw(
        self, prompt: str, *, negative_prompt: str = "", guidance_scale: float | None = None,
        steps: int | None = None, seed: int = 0, number: int = 1,
    ) -> list["Image"]:  # fmt: skip
        """Pictures of what the prompt says."""
        from PIL import Image

        body = {"prompt": prompt, "negative_prompt": negative_prompt, "n": number, "seed": seed,
                "guidance_scale": guidance_scale, "steps": steps}  # fmt: skip
        data = self._post("/v1/images/generations", body)["data"]
        return [Image.open(io.BytesIO(base64.b64decode(each["b64_json"]))) for each in data]

    def transcribe(self, recording: Path) -> Iterator[Spoken]:
        """Pieces of what is said, with their times in seconds."""
        kind = mimetypes.guess_type(recording.name)[0] or "application/octet-stream"
        files = {"file": (recording.name, content_of(recording), kind)}
        form = {"response_format": "verbose_json"}
        answer = self._said(
            lambda: self.http.post("/v1/audio/transcriptions", data=form, files=files)
        )
        for piece in answer["segments"]:
            yield piece["start"], piece["end"], piece["text"]

    def chat(self, messages: Sequence[dict[str, Any]]) -> Iterator[str]:
        """The answer to the last message, piece by piece."""
        body = {"messages": list(messages), "stream": True}
        for event in self._events("/v1/chat/completions", body):
            yield from (choice["delta"].get("content") or "" for choice in event["choices"])

    def models(self) -> list[str]:
        """Names of what is served."""
        return [model["id"] for model in self._said(lambda: self.http.get("/v1/models"))["data"]]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._said(lambda: self.http.post(path, json=body))

    def _said(self, call: Any) -> Any:
        import httpx

        try:
            answer = call()
        except httpx.HTTPError as error:
            raise self._away(error) from None
        if answer.is_error:
            raise mistake(answer.status_code, answer.content)
        return answer.json()

    def _events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        import httpx

        try:
            with self.http.stream("POST", path, json=body) as answer:
                if answer.is_error:
                    raise mistake(answer.status_code, answer.read())
                for line in answer.iter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        event = json.loads(line[6:])
                        if "error" in event:
                            raise VermeilError(event["error"]["message"])
                        yield event
        except httpx.HTTPError as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> VermeilError:
        said = " ".join(str(error).split()) or type(error).__name__
        return VermeilError(f"the server at {self.url} does not answer ({said})", "vermeil serve")


class Local(Remote):
    """The same service in this process: its own code answers, without a network between."""

    def __init__(self, service: "Service"):
        from phase4_deploy.serving.api import create_app
        from phase4_deploy.serving.inside import Inside

        self.service = service
        super().__init__(
            "http://inside", transport=Inside(create_app(service, log=lambda line: None))
        )

    @classmethod
    def open(cls, models: Sequence[str] = (), **options: Any) -> "Local":
        """With these artifacts; without names, one of each kind that is there."""
        from phase4_deploy.serving.engine import Engine
        from phase4_deploy.serving.models import Options
        from phase4_deploy.serving.service import Service
        from shared import hardware

        hardware.set_threads(max(1, hardware.cores() // 2))
        made = Options(device=hardware.device_name(), **options)
        return cls(Service(Engine.open(models, made)))

    def close(self) -> None:
        """Finish what is open."""
        self.http.close()
        self.service.engine.close(5.0)


def data_uri(picture: "Image") -> str:
    """A picture as it is sent: PNG in base64."""
    buffer = io.BytesIO()
    picture.convert("RGBA" if picture.mode in ("RGBA", "LA", "PA") else "RGB").save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def content_of(recording: Path) -> bytes:
    """The bytes of a user's file."""
    try:
        return recording.read_bytes()
    except OSError as error:
        raise VermeilError(
            f"{recording} cannot be read ({error.strerror})", "choose another"
        ) from None


def mistake(status: int, content: bytes) -> VermeilError:
    """What a server said went wrong."""
    try:
        return VermeilError(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return VermeilError(f"the server answered {status}", "look into its log")
