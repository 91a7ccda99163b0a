"""Continuous batching: whoever comes and goes meanwhile, an answer is the one it would be alone."""

import threading
import time

import numpy as np
import pytest
import torch

from phase1_foundation.language.decode import Past
from phase1_foundation.language.generate import Sampling, generate
from phase1_foundation.language.model import LanguageModel
from phase4_deploy.serving.continuous import Writing
from phase4_deploy.serving.engine import Engine
from phase4_deploy.serving.lanes import Busy
from phase4_deploy.serving.memory import Memory, Read
from phase4_deploy.serving.models import Options, TooLong
from phase4_deploy.serving.ticket import Ticket
from shared.errors import VermeilError

KINDS = (
    Sampling(max_tokens=24, temperature=0.0),
    Sampling(max_tokens=9, seed=3),
    Sampling(max_tokens=40, seed=4, temperature=0.7, top_k=40, top_p=0.9),
    Sampling(max_tokens=17, seed=5, repetition_penalty=1.5),
    Sampling(max_tokens=30, temperature=0.0, repetition_penalty=1.3),
)


def opened(home, name: str = "phase1/lm", variant: str = "fp32", **options) -> Engine:
    folder = home / "artifacts" / name / "random-0"
    return Engine.open([str(folder)], Options(variant=variant, **options), warm_up=False)


@pytest.fixture(scope="module", params=[0, 2], ids=["a thread", "two processes"])
def engine(models_home, request):
    engine = opened(models_home, processes=request.param)
    yield engine
    engine.close(5.0)


@pytest.fixture
def writer(engine):
    return engine.writer()


@pytest.fixture(scope="module")
def model(models_home):
    return LanguageModel.from_pretrained(models_home / "artifacts/phase1/lm/random-0")


def alone(model, writer, prompt: str, sampling: Sampling) -> str:
    """What the model writes without a server."""
    return generate(model, writer.tokenizer, [prompt], sampling)[0]


@pytest.fixture
def talker(models_home):
    engine = opened(models_home, "phase4/unified")
    yield engine.talker()
    engine.close(5.0)


def prompts(number: int) -> list[str]:
    return [f"a {'red ' * (i % 7)}dog {i}" for i in range(number)]


def test_answers_are_those_of_generate_however_they_are_mixed(writer, model):
    """Rows of all settings join and leave at different times, past every size of the batch."""
    asked = [(prompt, KINDS[i % len(KINDS)]) for i, prompt in enumerate(prompts(21))]
    expected = [alone(model, writer, *one) for one in asked]
    tickets = []
    for number, (prompt, sampling) in enumerate(asked):
        tickets.append(writer.write(prompt, sampling, streamed=number % 2 == 0))
        time.sleep(0.004 * (number % 3))
    assert ["".join(ticket) for ticket in tickets] == expected
    assert len(set(expected)) > 15, "answers that are alike show nothing"


def test_a_prompt_is_read_once(writer, model):
    sampling = Sampling(max_tokens=12, temperature=0.0)
    first = writer.write("a dog and a cat", sampling)
    text = "".join(first)
    again = writer.write("a dog and a cat", sampling)
    assert "".join(again) == text
    longer = writer.write("a dog and a cat sit", sampling)
    tokens = 1 + len(writer.tokenizer.encode("a dog and a cat"))
    assert first.notes["cached_tokens"] == 0
    assert again.notes["cached_tokens"] == again.notes["prompt_tokens"] == tokens
    assert "".join(longer) == alone(model, writer, "a dog and a cat sit", sampling)
    assert 0 < longer.notes["cached_tokens"] <= tokens < longer.notes["prompt_tokens"]


def test_a_picture_is_looked_at_once(talker):
    """What stands before the words is taken from memory, for other questions too."""
    looked, prefix = [], talker.lane.sense.model.prefix
    talker.lane.sense.model.prefix = lambda *given: looked.append(1) or prefix(*given)
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    greedy = Sampling(max_tokens=8, temperature=0.0)
    first = talker.answer("is there a dog?", picture=picture, sampling=greedy).result()
    other = talker.answer("what color is it?", picture=picture, sampling=greedy)
    other_text = other.result()
    assert talker.answer("is there a dog?", picture=picture, sampling=greedy).result() == first
    assert len(looked) == 1 and other.notes["cached_tokens"] > 4
    talker.lane.memory = Memory(0)
    assert (
        talker.answer("what color is it?", picture=picture, sampling=greedy).result() == other_text
    )
    assert len(looked) == 2


def test_pictures_and_speech_together_are_answered_as_alone(talker, recording):
    from phase2_multimodal.vision_language.generate import Speaker
    from phase4_deploy.serving.media import Limits, sound
    from phase4_deploy.unified.generate import Unified

    rng, greedy = np.random.default_rng(1), Sampling(max_tokens=10, temperature=0.0)
    pictures = [rng.integers(0, 255, (16, 16, 3), np.uint8) for _ in range(5)]
    wave = sound(recording(2.0), Limits())
    tickets = [talker.answer("what is it?", picture=p, sampling=greedy) for p in pictures]
    spoken = talker.answer(picture=pictures[0], wave=wave, sampling=greedy)
    heard = talker.answer(wave=wave, sampling=greedy)
    model = talker.lane.sense.model
    unified = Unified(model, talker.prompter)
    seen = torch.stack([torch.from_numpy(p).permute(2, 0, 1) / 127.5 - 1 for p in pictures])
    speaker = Speaker(model, talker.prompter)
    expected = speaker.say(speaker.look(seen), ["what is it?"] * 5, greedy)
    assert ["".join(ticket).strip() for ticket in tickets] == expected
    mels = [unified.log_mel(_edged(wave))]
    assert "".join(spoken).strip() == unified.answers(
        pictures=seen[:1], mels=mels, sampling=greedy
    )[0]  # fmt: skip
    assert "".join(heard).strip()


def _edged(wave):
    from phase4_deploy.audio.activity import edged, trimmed

    return edged(trimmed(wave))


def test_silence_is_answered_with_nothing(talker):
    ticket = talker.answer(wave=torch.zeros(32_000), sampling=KINDS[0])
    assert ticket.result() == "" and ticket.notes["completion_tokens"] == 0


def test_stop_strings_end_an_answer_and_stay_out_of_it(writer):
    whole = "".join(writer.write("a dog", Sampling(max_tokens=40, temperature=0.0)))
    stop = whole[10:14]
    sampling = Sampling(max_tokens=40, temperature=0.0, stop=(stop,))
    ticket = writer.write("a dog", sampling)
    assert "".join(ticket) == whole[: whole.index(stop)]
    assert ticket.notes["finish_reason"] == "stop" and ticket.notes["completion_tokens"] < 40


def test_who_leaves_frees_the_row_within_a_step(models_home, model):
    """And those who stay do not notice."""
    engine = opened(models_home)
    writer, long = engine.writer(), Sampling(max_tokens=1500, seed=1)
    lane, short = writer.lane, Sampling(max_tokens=60, temperature=0.0)
    leaving = [writer.write(f"a dog {i}", long, streamed=True) for i in range(5)]
    staying = writer.write("a cat", short, streamed=True)
    for ticket in leaving:
        next(iter(ticket))
    for ticket in leaving:
        ticket.cancel()
    steps = lane.written
    text = "".join(staying)
    assert lane.written - steps < 60 + 2 * 6, "five rows that nobody reads were written on"
    assert text == alone(model, writer, "a cat", short)
    assert not lane.busy() and all(ticket.notes["completion_tokens"] < 1500 for ticket in leaving)
    engine.close(5.0)


def test_a_full_queue_is_said_and_the_rest_is_answered(models_home):
    engine = opened(models_home, rows=2, queue=3)
    writer, long = engine.writer(), Sampling(max_tokens=300, seed=0)
    tickets, refused = [], 0
    for number in range(20):
        try:
            tickets.append(writer.write(f"a dog {number}", long))
        except Busy as error:
            refused += 1
            assert error.seconds >= 1 and "lm" in error.message
    assert refused >= 10 and len(tickets) >= 3
    assert all("".join(ticket) for ticket in tickets)
    engine.close(5.0)
    with pytest.raises(Busy, match="stopping"):
        writer.write("a dog", long)


def test_what_is_too_long_is_said_at_once(writer):
    with pytest.raises(TooLong, match="context is 2,048"):
        writer.write("dog " * 3000, KINDS[0])


def test_what_fills_the_context_is_refused_and_hurts_nobody(writer, model):
    """Speech can turn out as long as the context when it has been heard."""
    full = Writing((5,) * 2048, KINDS[0], ends=(2,))
    beside = writer.write("a cat", KINDS[0])
    with pytest.raises(VermeilError, match="fills the model's context of 2048"):
        writer.lane.submit(full).result()
    assert "".join(beside) == alone(model, writer, "a cat", KINDS[0])


def test_an_error_ends_its_own_requests_and_no_others(talker):
    picture = np.zeros((16, 16, 3), np.uint8)
    whole, talker.lane.sense.model.prefix = talker.lane.sense.model.prefix, lambda *given: 1 / 0
    bad = talker.answer("what is it?", picture=picture, sampling=KINDS[0])
    with pytest.raises(Exception, match="failed on this request"):
        bad.result()
    talker.lane.sense.model.prefix = whole
    assert talker.answer("what is it?", picture=picture, sampling=KINDS[0]).result()


def test_closing_finishes_what_is_open(models_home):
    engine = opened(models_home)
    tickets = [engine.writer().write(p, Sampling(max_tokens=200, seed=1)) for p in prompts(6)]
    closing = threading.Thread(target=engine.close, args=(30.0,))
    closing.start()
    assert all(len("".join(ticket)) > 100 for ticket in tickets)
    closing.join(5)
    assert not closing.is_alive() and not engine.ready()


def test_memory_forgets_what_was_unused_for_longest():
    def read(n: int) -> Read:
        return Read(Past(torch.zeros(1, 2, 1, n, 4)), torch.zeros(3))

    memory = Memory(3 * read(8).bytes)
    memory.keep("", (9,) * 4, read(4))  # the first to go
    for word in (1, 2, 3):
        memory.keep("", (word,) * 8, read(8))
    assert memory.longest("", (1,) * 9) is not None  # used again: 2 is the oldest now
    memory.keep("", (4,) * 8, read(8))
    assert [((w,) * 8 in {k[1] for k in memory._entries}) for w in (1, 2, 3, 4)] == [
        True, False, True, True
    ]  # fmt: skip
    assert memory.held == memory.limit
    memory.keep("", (5,) * 80, read(80))  # larger than all there is room for
    assert memory.longest("", (5,) * 80) is None and memory.held == memory.limit
    assert memory.longest("other picture", (1,) * 9) is None
    assert memory._lengths == {"": {8: 3}}, "what is gone is still looked for"


def test_a_ticket_in_a_loop_and_in_a_thread():
    import asyncio

    def work(ticket: Ticket, error: Exception | None = None) -> None:
        for number in range(100):
            ticket.put(number)
        ticket.end(error)

    async def awaited() -> list[int]:
        ticket: Ticket[int] = Ticket()
        threading.Thread(target=work, args=(ticket,)).start()
        return [number async for number in ticket]

    assert asyncio.run(awaited()) == [*range(100)]
    ticket: Ticket[int] = Ticket()
    threading.Thread(target=work, args=(ticket, ValueError("no"))).start()
    with pytest.raises(ValueError, match="no"):
        list(ticket)
