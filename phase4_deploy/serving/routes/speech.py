"""The path of speech: written down in five formats, whole or as it is heard."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, UploadFile
from starlette.requests import Request
from starlette.responses import StreamingResponse

from phase4_deploy.serving import transcripts
from phase4_deploy.serving.media import BadInput
from phase4_deploy.serving.responses import EVENTS, Transcript, VerboseTranscript, told
from phase4_deploy.serving.service import Served

router = APIRouter()
FORMS = told(Transcript | VerboseTranscript, "text/plain", "text/vtt", EVENTS)


@router.post("/v1/audio/transcriptions", tags=["speech"], responses=FORMS)
async def transcriptions(
    request: Request, service: Served, file: Annotated[UploadFile, File()],
    model: Annotated[str, Form(max_length=200)] = "",
    response_format: Annotated[
        Literal["json", "text", "verbose_json", "srt", "vtt"], Form()
    ] = "json",
    stream: Annotated[bool, Form()] = False,
    language: Annotated[Literal["", "en"], Form()] = "",
    temperature: Annotated[float, Form(ge=0, le=1)] = 0.0,
    prompt: Annotated[str, Form(max_length=1000)] = "",
) -> Any:  # fmt: skip
    """Write down what is said in a recording. `prompt` and `temperature` have no effect."""
    hearer = service.engine.hearer(model)
    content = await file.read()
    heard = transcripts.Heard(request, hearer, content, service.limits)
    if stream:
        if response_format not in ("json", "text"):
            raise BadInput(f"{response_format} is not streamed", "json or text", "invalid_value")
        first = await heard.first()  # what is wrong with the file is said by the status
        return StreamingResponse(heard.events(first), media_type="text/event-stream")
    return await heard.whole(response_format)
