"""What is learned from a lesson, by one that looks and by one that sees nothing."""

import json

import numpy as np
import pytest
import torch

from phase2_multimodal.talks import PictureTalk, talks_of
from phase2_multimodal.train_caption import CaptionConfig
from phase2_multimodal.vision_language import blind
from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.lessons import FITTED, Lesson, Lessons
from phase2_multimodal.vision_language.objective import Answer, SamplesInTraining
from phase2_multimodal.vision_language.prompts import CAPTION
from shared.optim import make_optimizer, schedules


@pytest.fixture
def lessons(small_scenes, prompter) -> Lessons:
    return Lessons(talks_of(small_scenes, "train", 16), prompter, 8, 0, captions=2, questions=3)


def texts_of(packed, prompter) -> list[list[tuple[str, str]]]:
    """(question, answer) pairs of each row, read back."""
    decode, rows = prompter.tokenizer.decode, []
    for tokens, segments, answers in zip(*packed, strict=True):
        texts = [segments == number for number in range(1, int(segments.max()) + 1)]
        said = ((tokens[own & ~answers], tokens[own & answers]) for own in texts)
        rows.append([(decode(q.tolist()), decode(a.tolist()).strip()) for q, a in said])
    return rows


def test_a_lesson_has_captions_and_questions_of_its_picture(small_scenes, prompter):
    scenes = map(talks_of(small_scenes, "train", 16).__getitem__, range(60))
    written = [PictureTalk(scene.pixels, scene.captions, scene.questions) for scene in scenes]
    lessons = Lessons(written, prompter, 8, 0, captions=2, questions=3)
    known = {talk.pixels.tobytes(): talk for talk in written}
    for step in range(3):
        pictures, *_, packed = lessons.rows(step, slice(0, 8))
        rows = texts_of(packed, prompter)
        for picture, pairs in zip(pictures, rows, strict=True):
            pixels = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous()
            talk = known[pixels.numpy().tobytes()]
            captions = [answer for question, answer in pairs if question == CAPTION]
            assert len({*captions} & {*talk.captions}) == len(captions) == 2
            asked = {(q.text, *q.answers) for q in talk.questions}
            questions = [pair for pair in pairs if pair[0] != CAPTION]
            assert len({*questions}) == len(questions) == 3
            assert {*questions} <= asked


def test_scenes_are_taught_by_comparing(lessons, prompter):
    texts = [question for step in range(10)
             for row in texts_of(lessons.rows(step, slice(0, 8))[-1], prompter)
             for question, _ in row]  # fmt: skip
    of = {word: sum(word in text for text in texts) for word in ("is there", "color")}
    assert of["is there"] > 5 * of["color"]  # drawn alike, they would be 2 to 1


def test_every_answer_that_people_gave_is_taught_at_times(talk, prompter):
    one = [talk(9, "a thing", which_one=["a", "b", "b", "b"])]
    lessons = Lessons(one, prompter, 4, 0, captions=0, questions=1)
    told = [answer for step in range(100)
            for row in texts_of(lessons.rows(step, slice(0, 4))[-1], prompter)
            for _, answer in row]  # fmt: skip
    assert told.count("a") / len(told) == pytest.approx(0.25, abs=0.08)
    assert {*told} == {"a", "b"}


def test_processes_share_a_lesson(lessons):
    whole = lessons.rows(2, slice(0, 8))
    halves = [lessons.rows(2, slice(first, first + 4)) for first in (0, 4)]
    assert torch.equal(whole[0], torch.cat([half[0] for half in halves]))
    for half, first in zip(halves, (0, 4), strict=True):
        width = half[-1].tokens.shape[1]
        assert torch.equal(half[-1].tokens, whole[-1].tokens[first : first + 4, :width])


def test_captioned_weighs_the_words_of_a_caption_by_how_rare_they_are(lessons, prompter):
    """log(N / n) for a token in n of N captions, counted here with sets."""
    found = lessons.captioned(FITTED)
    start = len(prompter.question(CAPTION))
    rows = [(ids.tolist()[start:], of_ids.tolist()) for _, tokens, weights in found
            for ids, of_ids in zip(tokens, weights, strict=True)]  # fmt: skip
    words = [{*ids[: ids.index(prompter.end)]} for ids, _ in rows]
    for ids, weights in rows:
        length = ids.index(prompter.end)
        counts = [sum(id in one for one in words) for id in ids[:length]]
        assert weights[start : start + length] == pytest.approx(
            np.log(8 * FITTED / np.array(counts))
        )
        assert not any(weights[:start] + weights[start + length :]), "nothing else weighs"
        said = prompter.tokenizer.decode(ids[:length])
        assert said.startswith(" ")
        assert 8 <= len(said.split()) <= 14
    assert all(pictures.shape == (8, 3, 16, 16) for pictures, *_ in found)


def test_first_is_as_many_batches_as_fit(lessons):
    assert [len(pictures) for pictures, *_ in lessons.first(20)] == [8, 8]
    assert len(lessons.first(3)) == 1
    assert len(lessons.first(10**6)) == 60 // 8


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_the_loss_is_the_models(model, prompter, lessons, power):
    batch = lessons.rows(0, slice(0, 8))
    pictures, *_, packed = batch
    expected = model.loss(model.prefix(pictures, prompter.opening), *packed, power)
    config = CaptionConfig(length_power=power)
    torch.testing.assert_close(Answer(model, config, prompter).loss(batch), expected)


def test_words_weigh_in_captions_alone(small_scenes, prompter):
    """Questions' answers, and what is asked, weigh nothing; nor does a second caption's end."""
    talks = talks_of(small_scenes, "train", 16)
    lessons = Lessons(talks, prompter, 8, 0, captions=2, questions=3, naming=True)
    _, words, packed = lessons.rows(0, slice(0, 8))
    captions = (packed.segments <= 2) & packed.answers
    assert not words[~captions].any()
    assert torch.equal(words[captions], lessons.rarity[packed.tokens[captions]])
    assert lessons.rarity[prompter.end] == 0
    assert words.count_nonzero() > 8 * 2 * 4
    silent = Lessons(talks, prompter, 8, 0, captions=0, questions=3, naming=True)
    assert silent.rows(0, slice(0, 8)).words is None


def test_pictures_without_captions_have_no_words_to_name(model, prompter, talk):
    asked = [talk(shade, which_one=["a"]) for shade in range(4)]
    batch = Lessons(asked, prompter, 4, 0, questions=1, naming=True).rows(0, slice(0, 4))
    assert not batch.words.any()
    objective = Answer(model.train(), CaptionConfig(), prompter)
    torch.testing.assert_close(objective.loss(batch), objective.eval().loss(batch))
    some = Lessons([*asked, talk(9, "a red dog")], prompter, 5, 0, naming=True)
    assert some.rarity.count_nonzero() == 0, "of one caption, nothing is rare"


def test_naming_is_asked_in_training_alone(model, prompter, small_scenes):
    talks = talks_of(small_scenes, "train", 16)
    batch = Lessons(talks, prompter, 8, 0, captions=1, naming=True).rows(0, slice(0, 8))
    objective = Answer(model, CaptionConfig(naming=0.5), prompter)
    pictures, words, packed = batch
    plain = objective.eval().loss(batch)
    seen = model.prefix(pictures, prompter.opening)[:, len(prompter.opening) :]
    named = model.naming_loss(seen, packed.tokens, words)
    assert named > 0.1
    torch.testing.assert_close(objective.train().loss(batch), plain + 0.5 * named)


def test_parents_learn_at_their_own_pace(model, prompter):
    """The encoder frozen, the language model at a tenth from step 5 on, the projector at once."""
    config = CaptionConfig(vision_rate=0.0, language_rate=0.1, frozen_steps=5, warmup=0, steps=100)
    objective = Answer(model, config, prompter)
    optimizer = make_optimizer(model, config, objective.paces)
    names = {id(p): name.partition(".")[0] for name, p in model.named_parameters()}
    rates = {}
    for group, factor in zip(optimizer.param_groups, schedules(optimizer, config), strict=True):
        for parameter in group["params"]:
            rates.setdefault(names[id(parameter)], set()).add((factor(4), factor(5)))
    assert rates == {"vision": {(0.0, 0.0)}, "language": {(0.0, 0.1)}, "projector": {(1.0, 1.0)}}


def test_the_twin_sees_nothing(model, prompter, lessons, pictures):
    twin = blind.Blind(model, CaptionConfig(), prompter)
    _, *rest = lessons.rows(0, slice(0, 4))
    losses = {twin.loss(Lesson(some, *rest)).item() for some in (pictures, pictures.flip(0) * 3)}
    assert len(losses) == 1
    weighed = blind.Blind(model, CaptionConfig(length_power=0.0), prompter)
    assert weighed.loss(Lesson(pictures, *rest)).item() not in losses, (
        "answers count as for its twin"
    )
    twin.loss(Lesson(pictures, *rest)).backward()
    learning = {n.partition(".")[0] for n, p in model.named_parameters() if p.grad is not None}
    assert learning == {"language"}


def test_what_the_twin_says_depends_on_the_question_alone(model, prompter):
    speaker = Speaker(model, prompter)
    questions = ["what is it?", "how many are there?", "what is it?"]
    said = blind.answers(speaker, questions)
    assert said[0] == said[2]
    assert said == [blind.answers(speaker, [question])[0] for question in questions]
    with torch.no_grad():
        opening = model.language.embed(prompter.opening)
    assert torch.equal(blind.unseen(model, prompter.opening, 2), opening.expand(2, -1, -1))


def test_the_twin_is_kept_beside_the_model(make_model, prompter, tmp_path, with_opinions):
    model = make_model()
    twin = with_opinions(make_model(), seed=7)
    blind.save(twin, tmp_path)
    loaded = blind.load(model, tmp_path)
    assert not loaded.training
    for name, tensor in twin.language.state_dict().items():
        assert torch.equal(loaded.language.state_dict()[name], tensor)
    questions = ["what is it?"]
    said = [blind.answers(Speaker(one, prompter), questions) for one in (twin, loaded)]
    assert said[0] == said[1]


def test_samples_are_kept_by_step(model, prompter, small_scenes, tmp_path):
    talks = talks_of(small_scenes, "validation", 16)
    samples = SamplesInTraining(model, prompter, talks, tmp_path)
    first = samples(0)
    assert [*first] == [talks[number].captions[0] for number in range(6)]
    with torch.no_grad():
        model.language.embed.weight.mul_(-1)
    second = samples(10)
    assert first != second, "said with the weights of the moment"
    samples(10)  # a resumed run does a step again
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 10, 10]
    shown = str(samples.exhibit())
    assert shown.count("step 10") == shown.count("step 0") == 6
