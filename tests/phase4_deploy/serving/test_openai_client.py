"""OpenAI's own client, unchanged, against a live server: every call, every form of answer."""

import asyncio
import base64
import io
import json

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

GREEDY = {"model": "lm", "prompt": "a red star", "max_tokens": 24, "temperature": 0}
KINDS = {"lm", "unified", "text_to_image", "speech", "alignment"}


def text_of(answer) -> str:
    return answer.choices[0].text


def seen(uri: str, *parts: dict) -> list:
    """A message with a picture."""
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}}, *parts]}]


def spoken(content: bytes) -> dict:
    data = base64.b64encode(content).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


# Models.


def test_models(client):
    models = {model.id: model for model in client.models.list()}
    assert set(models) == KINDS
    assert models["lm"].object == "model" and models["lm"].owned_by == "vermeil"
    assert models["lm"].created == 1767323045  # 2026-01-02T03:04:05Z
    assert client.models.retrieve("speech") == models["speech"]


# Completions.


def test_a_completion_counts_its_tokens(client):
    answer = client.completions.create(**GREEDY)
    assert answer.object == "text_completion" and answer.model == "lm"
    assert answer.choices[0].finish_reason == "length" and text_of(answer)
    usage = answer.usage
    assert usage.completion_tokens == 24 and 1 < usage.prompt_tokens < 12
    assert usage.total_tokens == usage.prompt_tokens + 24
    again = client.completions.create(**GREEDY)
    assert text_of(again) == text_of(answer)
    assert again.usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens


def test_choices_are_seeded_one_after_the_other(client):
    asked = GREEDY | {"temperature": 1, "seed": 11}
    three = client.completions.create(**asked, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    texts = [choice.text for choice in three.choices]
    assert len(set(texts)) == 3
    assert texts == [
        text_of(client.completions.create(**asked | {"seed": 11 + i})) for i in (0, 1, 2)
    ]
    assert three.usage.completion_tokens == 72
    unseeded = GREEDY | {"temperature": 1}
    assert text_of(client.completions.create(**unseeded)) != text_of(
        client.completions.create(**unseeded)
    )


def test_several_prompts_are_answered_in_order(client):
    prompts = ["a red star", "two blue rings", "nothing"]
    together = client.completions.create(**GREEDY | {"prompt": prompts}, n=1)
    alone = [text_of(client.completions.create(**GREEDY | {"prompt": p})) for p in prompts]
    assert [choice.text for choice in together.choices] == alone
    assert len(set(alone)) == 3


def test_a_stop_ends_the_text_before_itself(client):
    whole = text_of(client.completions.create(**GREEDY))
    stop = whole[9:12]
    before = whole[: whole.index(stop)]
    answer = client.completions.create(**GREEDY, stop=["never in there", stop])
    assert text_of(answer) == before and answer.choices[0].finish_reason == "stop"
    pieces = list(client.completions.create(**GREEDY, stop=stop, stream=True))
    assert "".join(map(text_of, pieces)) == before
    assert pieces[-1].choices[0].finish_reason == "stop"


def test_echo_repeats_the_prompt(client):
    without = text_of(client.completions.create(**GREEDY))
    assert text_of(client.completions.create(**GREEDY, echo=True)) == "a red star" + without
    pieces = list(client.completions.create(**GREEDY, echo=True, stream=True))
    assert text_of(pieces[0]) == "a red star"
    assert "".join(map(text_of, pieces)) == "a red star" + without


@pytest.mark.parametrize("how", [{"temperature": 0}, {"temperature": 1.2, "seed": 5, "top_p": 0.9}])
def test_a_stream_is_the_whole_in_pieces(client, how):
    asked = GREEDY | how | {"max_tokens": 120}
    whole = client.completions.create(**asked)
    options = {"include_usage": True}
    *pieces, last = client.completions.create(**asked, stream=True, stream_options=options)
    assert "".join(map(text_of, pieces)) == text_of(whole)
    assert len(pieces) > 10
    assert [piece.choices[0].finish_reason for piece in pieces[-2:]] == [None, "length"]
    assert all(piece.usage is None for piece in pieces)
    assert last.choices == [] and last.usage.total_tokens == whole.usage.total_tokens
    assert len({piece.id for piece in [*pieces, last]}) == 1


def test_how_words_are_chosen_matters(client):
    asked = GREEDY | {"temperature": 1, "seed": 3}
    greedy = text_of(client.completions.create(**GREEDY))
    assert text_of(client.completions.create(**asked, extra_body={"top_k": 1})) == greedy
    assert text_of(client.completions.create(**asked, top_p=1e-9)) == greedy
    penalty = {"repetition_penalty": 5.0}
    assert text_of(client.completions.create(**GREEDY, extra_body=penalty)) != greedy


# Chat.


def test_chat_about_a_text_a_picture_and_a_recording(client, scene_uri, recording):
    def asked(messages, **more):
        answer = client.chat.completions.create(
            model="unified", messages=messages, max_tokens=12, **more
        )
        assert answer.object == "chat.completion"
        assert answer.choices[0].message.role == "assistant"
        return answer.choices[0].message.content, answer.usage.prompt_tokens

    question = {"type": "text", "text": "what is it?"}
    described = asked(seen(scene_uri))
    answered = asked(seen(scene_uri, question))
    written = asked([{"role": "user", "content": [spoken(recording())]}])
    both = asked(seen(scene_uri, spoken(recording())))
    continued = asked([{"role": "user", "content": "a red star"}])
    answers = [described, answered, written, both, continued]
    assert len({text for text, _ in answers}) == 5
    longer = asked(seen(scene_uri, spoken(recording(6.0))))
    assert longer[1] > both[1]  # what is heard takes room
    assert asked(seen(scene_uri, question)) == answered


def test_the_last_picture_and_the_last_question_count(client, scene_uri, recording):
    how = {"model": "unified", "max_tokens": 12}
    question = {"type": "text", "text": "what color is it?"}
    plain = client.chat.completions.create(messages=seen(scene_uri, question), **how)
    long = client.chat.completions.create(
        messages=[
            {"role": "system", "content": "be brief"},
            *seen(scene_uri),
            {"role": "assistant", "content": "something"},
            {"role": "user", "content": "what color is it?"},
        ],
        **how,
    )
    assert long.choices[0].message.content == plain.choices[0].message.content


def test_silence_is_answered_by_silence(client, scene_uri):
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(16_000), 16_000, format="WAV")
    answer = client.chat.completions.create(
        model="unified", messages=seen(scene_uri, spoken(buffer.getvalue()))
    )
    assert answer.choices[0].message.content == "" and answer.usage.total_tokens == 0


def test_chat_streams_with_usage_and_several_choices(client, scene_uri):
    asked = {"model": "unified", "messages": seen(scene_uri), "max_tokens": 40, "n": 2,
             "temperature": 1.0, "seed": 4}  # fmt: skip
    whole = client.chat.completions.create(**asked)
    options = {"include_usage": True}
    *chunks, last = client.chat.completions.create(**asked, stream=True, stream_options=options)
    assert last.choices == [] and last.usage == whole.usage.model_copy(
        update={"prompt_tokens_details": last.usage.prompt_tokens_details}
    )
    for choice in whole.choices:
        own = [c.choices[0] for c in chunks if c.choices[0].index == choice.index]
        assert own[0].delta.role == "assistant"
        assert "".join(c.delta.content or "" for c in own) == choice.message.content
        assert [c.finish_reason for c in own[-2:]] == [None, "length"]
    assert whole.choices[0].message.content != whole.choices[1].message.content


def test_chat_stops_and_reads_with_the_language_model(client):
    messages = [{"role": "user", "content": "a red star"}]
    how = {"model": "lm", "messages": messages, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**how).choices[0].message.content
    assert whole == text_of(client.completions.create(**GREEDY))
    unnamed = client.chat.completions.create(**how | {"model": ""})
    assert unnamed.model == "lm", "words without a picture are for the language model"
    answer = client.chat.completions.create(**how, stop=whole[9:12]).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.message.content == whole[: whole.index(whole[9:12])]
    newer = how | {"max_tokens": openai.omit, "max_completion_tokens": 3}
    assert client.chat.completions.create(**newer).usage.completion_tokens == 3


# Pictures.


def pixels(answer) -> list[np.ndarray]:
    made = (io.BytesIO(base64.b64decode(each.b64_json)) for each in answer.data)
    return [np.asarray(Image.open(each)) for each in made]


def test_images_are_png_of_the_size_and_seed_that_was_asked_for(client):
    asked = {
        "model": "text_to_image",
        "prompt": "a red star",
        "extra_body": {"seed": 3, "steps": 2},
    }
    two = pixels(client.images.generate(**asked, n=2, size="64x64"))
    assert [each.shape for each in two] == [(64, 64, 3)] * 2
    assert not np.array_equal(*two)
    np.testing.assert_array_equal(pixels(client.images.generate(**asked, size="64x64"))[0], two[0])
    second = asked | {"extra_body": {"seed": 4, "steps": 2}}
    np.testing.assert_array_equal(pixels(client.images.generate(**second, size="64x64"))[0], two[1])
    usual = pixels(client.images.generate(**asked))[0]
    assert usual.shape == (256, 256, 3)
    np.testing.assert_array_equal(usual[::4, ::4], two[0])  # enlarged by whole pixels
    with pytest.raises(openai.BadRequestError, match="16x16"):
        client.images.generate(**asked, size="100x100")


def test_guidance_and_what_is_not_wanted_change_a_drawing(client):
    def drawn(**more):
        body = {"seed": 3, "steps": 2} | more
        return pixels(client.images.generate(prompt="a red star", size="16x16", extra_body=body))[0]

    usual = drawn()
    assert not np.array_equal(usual, drawn(guidance_scale=9))
    assert not np.array_equal(usual, drawn(negative_prompt="a blue ring"))
    np.testing.assert_array_equal(usual, drawn(negative_prompt=""))


def test_captions_and_questions_in_plain_form(live, scene_uri, recording):
    def asked(path, **body):
        answer = live.http.post(path, json={"image": scene_uri} | body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert asked("/v1/captions")["model"] == "unified"
    typed = asked("/v1/vqa", question="what is it?")["answer"]
    said = asked("/v1/vqa", audio=base64.b64encode(recording()).decode())["answer"]
    assert len({asked("/v1/captions")["caption"], typed, said}) == 3


# Speech.


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3", "OGG"])
def test_speech_comes_in_five_formats(client, recording, form):
    def heard(**more):
        file = (f"voice.{form.lower()}", recording(5.0, form))
        return client.audio.transcriptions.create(model="speech", file=file, **more)

    text = heard().text
    assert heard(response_format="json").text == text
    assert heard(response_format="text") == text + "\n"
    long = heard(response_format="verbose_json")
    assert long.text == text and long.duration == pytest.approx(5.0, abs=0.1)
    assert (long.segments[0].start, long.segments[0].text) == (0.0, text)
    srt, vtt = heard(response_format="srt"), heard(response_format="vtt")
    assert srt.startswith("1\n00:00:00,000 --> 00:00:05,") and text in srt
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:05.") and text in vtt


def test_speech_streams_piece_by_piece(client, recording):
    file = ("voice.wav", recording(25.0))
    whole = client.audio.transcriptions.create(
        model="speech", file=file, response_format="verbose_json"
    )
    *deltas, done = client.audio.transcriptions.create(model="speech", file=file, stream=True)
    assert [event.type for event in deltas] == ["transcript.text.delta"] * len(whole.segments)
    assert len(deltas) > 1
    assert done.type == "transcript.text.done" and done.text == whole.text
    assert "".join(event.delta for event in deltas) == whole.text


# Embeddings.


def test_embeddings_of_texts_and_pictures(client, live, scene_uri):
    inputs = ["a red star", scene_uri, "two blue rings"]
    answer = client.embeddings.create(model="alignment", input=inputs)  # base64 on the wire
    vectors = np.array([each.embedding for each in answer.data])
    assert vectors.shape == (3, 16) and [each.index for each in answer.data] == [0, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert abs(vectors[0] @ vectors[2]) < 0.999
    floats = client.embeddings.create(model="alignment", input=inputs, encoding_format="float")
    np.testing.assert_array_equal(np.float32([each.embedding for each in floats.data]), vectors)
    for vector, what in zip(vectors, inputs, strict=True):
        alone = client.embeddings.create(model="alignment", input=what).data[0].embedding
        np.testing.assert_allclose(alone, vector, atol=1e-6)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > 4


# Errors, as the client knows them.


def test_errors_have_the_client_s_classes(client):
    cases = [
        (openai.NotFoundError, "model_not_found", GREEDY | {"model": "gpt-4"}),
        (openai.NotFoundError, "model_not_found", GREEDY | {"model": "speech"}),
        (openai.BadRequestError, "context_length_exceeded", GREEDY | {"prompt": "star " * 3000}),
        (openai.UnprocessableEntityError, "invalid_value", GREEDY | {"temperature": 9}),
        (openai.UnprocessableEntityError, "invalid_value", GREEDY | {"logprobs": 5}),
    ]
    for kind, code, asked in cases:
        with pytest.raises(kind) as caught:
            client.completions.create(**asked)
        assert caught.value.code == code and caught.value.request_id
        assert set(caught.value.body) == {"message", "type", "param", "code"}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.completions.create(**GREEDY, extra_body={"top_j": 1})
    assert caught.value.param == "top_j"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("../lm")


# Many at once.


def test_sixteen_at_once_get_what_they_get_alone(client, live, scene_uri):
    """Greedy and seeded, with and without pictures, whole and streamed."""

    def asked(number: int) -> dict:
        how = {"max_tokens": 20 + 7 * number, "temperature": number % 3 * 0.6, "seed": number}
        if number % 4 == 3:
            return how | {"model": "unified", "messages": seen(scene_uri)}
        text = " ".join(["a red star"] * (1 + number))
        return how | {"model": "lm", "messages": [{"role": "user", "content": text}]}

    async def answer(many: openai.AsyncOpenAI, number: int) -> str:
        if number % 2:
            stream = await many.chat.completions.create(**asked(number), stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        whole = await many.chat.completions.create(**asked(number))
        return whole.choices[0].message.content or ""

    async def together() -> list[str]:
        async with httpx.AsyncClient(trust_env=False, timeout=120) as web:
            many = openai.AsyncOpenAI(
                base_url=f"{live.url}/v1", api_key="none", http_client=web, max_retries=0
            )
            return await asyncio.gather(*(answer(many, number) for number in range(16)))

    alone = [
        client.chat.completions.create(**asked(number)).choices[0].message.content
        for number in range(16)
    ]
    assert asyncio.run(together()) == alone
    assert len(set(alone)) == 16
    assert json.loads(live.http.get("/health/ready").text)["status"] == "ready"
