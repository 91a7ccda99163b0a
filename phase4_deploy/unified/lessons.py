"""What the unified model learns from, by step: looking, listening, both at once, and reading.

looking  a picture with a caption and typed questions, as in phase 2        } rehearsal
reading  windows of phase 1's text                                          }
asked    a picture and a question spoken by a generated voice: the answer
said     a recording: what is said in it
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from data.picture_batches import Order, to_tensor
from data.pictures import PictureData
from data.questions import VisualQuestion
from data.speech import Clip, SpeechData
from data.spoken import QuestionsConfig, SpokenQuestions
from data.tokens import TokenWindows
from phase2_multimodal.talks import talks_of
from phase2_multimodal.vision_language.lessons import Lesson, Lessons
from phase2_multimodal.vision_language.prompts import Prompter
from phase4_deploy.audio.augment import Augmentation
from phase4_deploy.audio.batches import Batch, SpeechBatches, batch_of
from phase4_deploy.audio.features import Features
from phase4_deploy.speech.alphabet import Alphabet

TRANSCRIBE = "write what is said"
ASKED = 1  # what spoken questions add to a key of changes, so that recordings are changed otherwise


class Words(NamedTuple):
    """One prompt with its answer a row, filled on the right with 0."""

    tokens: Int[Tensor, "b t"]
    segments: Int[Tensor, "b t"]  # 1, and 0 where filled
    answers: Bool[Tensor, "b t"]


class Listening(NamedTuple):
    """Spoken questions about pictures, or recordings to write down."""

    pictures: Float[Tensor, "b 3 h w"] | None
    sound: Batch
    words: Words


class Hour(NamedTuple):
    """A step's lessons; where nothing is rehearsed there is no looking and no reading."""

    asked: Listening
    said: Listening
    looking: Lesson | None
    reading: Int[Tensor, "b t"] | None


def words_of(rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Words:
    """(prompt, answer) tokens of each row side by side."""
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    tokens = torch.zeros(len(rows), longest, dtype=torch.long)
    segments, answers = torch.zeros_like(tokens), torch.zeros_like(tokens)
    for row, (prompt, answer) in enumerate(rows):
        n = len(prompt) + len(answer)
        tokens[row, :n] = torch.tensor([*prompt, *answer])
        segments[row, :n] = 1
        answers[row, len(prompt) : n] = 1
    return Words(tokens, segments, answers.bool())


def spoken_prompt(prompter: Prompter) -> list[int]:
    """What stands after a question that was heard: nothing but the end of the turn."""
    return prompter.question("?")[-2:]


def questions(config: Any) -> SpokenQuestions:
    """As many spoken questions as a verb's configuration says."""
    return SpokenQuestions(config=QuestionsConfig(train=config.spoken, test=config.pictures))


@dataclass(frozen=True)
class SpokenTalks:
    """Questions about scenes, spoken; features are made once."""

    asked: list[tuple[VisualQuestion, Clip]]
    scenes: Any  # a Talks
    features: Features

    @classmethod
    def of(cls, spoken: SpokenQuestions, pictures: PictureData, split: str, size: int):
        """A split's, with the scenes that they are about."""
        return cls([*spoken.asked(split)], talks_of(pictures, split, size), Features())

    def __len__(self) -> int:
        return len(self.asked)

    def batch(
        self, numbers: Sequence[int], prompter: Prompter,
        changed: Callable[[int, Tensor], Tensor] = lambda row, mels: mels,
    ) -> Listening:  # fmt: skip
        """The questions of those numbers, each row's frames as they are changed."""
        some = [self.asked[number] for number in numbers]
        clips = enumerate(clip for _, clip in some)
        mels = [changed(row, self.features.get(clip.source, clip.id).mels) for row, clip in clips]
        pixels = np.stack([self.scenes[number].pixels for number in numbers])
        prompt = spoken_prompt(prompter)
        words = words_of([(prompt, prompter.answer(question.answers[0])) for question, _ in some])
        return Listening(to_tensor(pixels), batch_of(mels, [clip for _, clip in some]), words)


class UnifiedLessons:
    """Batches by step, `batch_size` rows of each kind."""

    def __init__(
        self, pictures: PictureData, speech: SpeechData, text: Any, prompter: Prompter, config: Any
    ):
        self.prompter, size = prompter, config.batch_size
        self.spoken = SpokenTalks.of(questions(config), pictures, "train", config.size)
        self.order = Order(len(self.spoken), config.seed)
        self.batch_size = size
        self.seed = config.seed
        self.augment = Augmentation(config.augment) if config.augment else None
        self.said = SpeechBatches(
            speech.clips("train"), Alphabet().encode, size, config.seed, self.augment,
            longest=config.longest,
        )  # fmt: skip
        self.looking = self.reading = None
        self.rehearse_every = config.rehearse_every
        if config.rehearsal:
            self.looking = Lessons(
                talks_of(pictures, "train", config.size), prompter, size, config.seed,
                captions=config.captions, questions=config.questions,
            )  # fmt: skip
            self.reading = TokenWindows(text, config.context, size, config.seed)

    def rows(self, step: int, rows: slice) -> Hour:
        """Rows `rows` of each kind of lesson of that step."""
        places = step * self.batch_size + np.arange(self.batch_size)[rows]
        sound, now = self.said.rows(step, rows), step % self.rehearse_every == 0
        asked = self.order.pick(places).tolist()

        def changed(row: int, mels: Tensor) -> Tensor:  # a mask could hide the one word that counts
            key = (self.seed, int(places[row]), ASKED)
            return self.augment.voice(key, mels) if self.augment else mels

        return Hour(
            self.spoken.batch(asked, self.prompter, changed),
            Listening(None, sound, transcripts(sound, self.prompter)),
            self.looking.rows(step, rows) if self.looking and now else None,
            self.reading.rows(step, rows) if self.reading and now else None,
        )


def transcripts(sound: Batch, prompter: Prompter) -> Words:
    """The texts of clips as answers to being asked for them, in the alphabet's spelling."""
    prompt, spell = prompter.question(TRANSCRIBE), Alphabet().spell
    return words_of([(prompt, prompter.answer(spell(text))) for text in sound.texts])


def held_out(
    pictures: PictureData, speech: SpeechData, prompter: Prompter, config: Any
) -> list[Hour]:
    """Validation lessons of the two new kinds, in batches."""
    spoken = SpokenTalks.of(questions(config), pictures, "validation", config.size)
    clips = list(speech.clips("validation"))[: config.validation_rows]
    features, size = Features(), config.batch_size
    mels = [features.get(clip.source, clip.id).mels for clip in clips]
    hours = []
    for first in range(0, min(len(spoken), config.validation_rows) - size + 1, size):
        part = slice(first % max(1, len(clips) - size + 1), None)
        sound = batch_of(mels[part][:size], clips[part][:size])
        asked = spoken.batch(range(first, first + size), prompter)
        hours.append(Hour(asked, Listening(None, sound, transcripts(sound, prompter)), None, None))
    return hours


def alignment_of(
    letters: Float[Tensor, "n vocab"], text: str, prompter: Prompter, stack: int
) -> list[int]:
    """The token that is being said in each stack of states, by the recogniser's best path."""
    from phase4_deploy.speech.ctc import align

    alphabet = Alphabet()
    spelled = alphabet.spell(text)
    tokens = prompter.tokenizer.encode(f" {spelled}")
    lengths = [len(prompter.tokenizer.decode([token])) for token in tokens]
    owner = [token for token, n in zip(tokens, lengths, strict=True) for _ in range(n)]
    owner = owner[-len(spelled) :] if len(owner) >= len(spelled) else owner
    spans = align(letters, text, alphabet)
    middles = np.array([(span.first + span.last) / 2 for span in spans])
    places = np.arange(-(-len(letters) // stack)) * stack + stack / 2
    nearest = np.abs(places[:, None] - middles).argmin(axis=1)
    return [owner[min(int(which), len(owner) - 1)] for which in nearest]
