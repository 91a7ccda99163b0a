"""Results of steps that were never run, with every kind of number and exhibit."""

import io
import math
import random
import struct
import wave
import zlib
from datetime import UTC, datetime, timedelta

from shared.results import Results, Row, audio, curve, images, table, texts

HARDWARE = {
    "cpu": "AMD EPYC 9B14",
    "cores": 2,
    "threads": 2,
    "gpu": None,
    "dtype": "bf16",
    "torch": "2.14.1",
    "load": 1.2,
}
DATA = {
    "name": "embedded text",
    "version": "1.0",
    "sha256": "5d41" * 16,
    "licence": "public domain / CC0-1.0",
}
DAY = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def make_row(**changes) -> Row:
    values = {
        "step": "lm",
        "metric": "bits_per_byte",
        "value": 1.61,
        "unit": "bit/byte",
        "better": "lower",
        "n": 412331,
        "low": 1.597,
        "high": 1.623,
        "protocol": "strided 512/256, SentencePiece 4096",
        "split": "test",
        "baselines": {
            "unigram": 4.43,
            "xz": 2.17,
            "byte_5gram": 1.70,
            "token_5gram": 1.78,
            "xz_primed": 2.05,
            "ppm_primed": None,
        },
        "artifact": "phase1/lm@tiny-1a2b3c4d",
        "preset": "tiny",
        "seconds": 171.0,
    }
    return Row(**{**values, **changes})


def speed(**changes) -> Row:
    plain = {"baselines": {}, "low": None, "high": None, "split": None}
    return make_row(**{**plain, **changes})


def tokenizer() -> Results:
    common = {"step": "tokenizer", "artifact": "phase1/tokenizer@tiny-77aa01ce", "seconds": 9.3}
    protocol = "SentencePiece unigram 4096, byte fallback"
    return Results(
        step="tokenizer",
        preset="tiny",
        title="Tokenizer",
        artifact=common["artifact"],
        created=DAY.isoformat(),
        seconds=9.3,
        hardware=HARDWARE,
        data=[DATA],
        rows=[
            speed(
                **common,
                metric="bytes_per_token",
                value=3.871,
                unit="byte/token",
                better="higher",
                protocol=protocol,
                split="test",
                baselines={"bytes": 1.0},
            ),
            speed(
                **common,
                metric="vocabulary_size",
                value=4096,
                unit="tokens",
                better="none",
                protocol=protocol,
            ),
        ],
        exhibits=[
            table(
                "How the same sentence falls into tokens",
                ["text", "tokens", "bytes", "byte/token"],
                [
                    ["It is a truth universally acknowledged", 8, 38, 4.75],
                    ["Call me Ishmael.", 6, 16, 2.667],
                    ["naïve café, 東京", 19, 21, 1.105],
                ],
            )
        ],
    )


def language_model() -> Results:
    steps = list(range(1001))
    level = [4.1 + 4.2 * math.exp(-step / 160) - step * 0.00006 for step in steps]
    noise = random.Random(0)
    noisy = [y + noise.gauss(0, 0.09) for y in level]
    checked = steps[::50]
    samples = {
        0: " tie ngkwent offi3 sof theirc Q al;zed uswhom",
        50: " the the of, and the to of the, and of the in and of the people to",
        200: " the state of the country, and the people of the United States, which is to the",
        500: " the condition of our public affairs has been such as to require the attention of "
        "Congress to the revenue of the year.",
        1000: " the state of the Union is strong in its credit, its commerce, and the good will "
        "of its people. The report of the Secretary of the Treasury will show that the receipts "
        "of the year have exceeded those of the last.",
    }
    return Results(
        step="lm",
        preset="tiny",
        title="Language model",
        artifact="phase1/lm@tiny-1a2b3c4d",
        created=(DAY + timedelta(minutes=3)).isoformat(),
        seconds=161.7,
        hardware=HARDWARE,
        parents=[{"id": "phase1/tokenizer@tiny-77aa01ce", "sha256": "c0ffee" * 10 + "beef"}],
        data=[DATA],
        verdict={"normal": True, "text": "validation loss 4.04 inside the reference band 3.9-4.2"},
        rows=[
            make_row(),
            make_row(
                metric="perplexity",
                value=57.3,
                low=55.9,
                high=58.8,
                unit="",
                n=106520,
                baselines={"unigram": 611.0, "token_5gram": 78.2},
            ),
            make_row(split="test/austen", value=1.84, low=1.80, high=1.88, n=88123),
            make_row(split="test/addresses", value=1.52, low=1.50, high=1.54, n=324208),
            speed(
                metric="tokens_per_second",
                value=5160.0,
                unit="token/s",
                better="higher",
                n=819200,
                protocol="training, context 256, batch 16",
            ),
        ],
        exhibits=[
            curve(
                "Loss",
                "step",
                "nats per token",
                {
                    "train": (steps, noisy),
                    "validation": (checked, [level[step] + 0.05 for step in checked]),
                },
                band={
                    "x": checked,
                    "low": [level[step] - 0.1 for step in checked],
                    "high": [level[step] + 0.2 for step in checked],
                },
            ),
            texts(
                "What it writes while it learns",
                [
                    (f"step {at}", prompt, samples[at])
                    for at in samples
                    for prompt in ("I am happy to report that", "The people know that")
                ],
            ),
        ],
    )


def png(red: int, green: int, blue: int, side: int = 16) -> bytes:
    rows = b"".join(
        b"\0" + b"".join(bytes((red, green * x // side, blue * y // side)) for x in range(side))
        for y in range(side)
    )

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", 9000 * (i // 20 % 2)) for i in range(4000)))
    return buffer.getvalue()


def drawing() -> Results:
    """A step of a later phase, with every kind of exhibit and with hard cases."""
    common = {"step": "text_to_image", "artifact": "phase2/text_to_image@tiny-0badcafe"}
    return Results(
        step="text_to_image",
        preset="tiny",
        title="Text to image",
        artifact=common["artifact"],
        created=(DAY + timedelta(minutes=9)).isoformat(),
        seconds=4210.0,
        hardware=HARDWARE,
        parents=[{"id": "phase1/diffusion@tiny-99887766", "sha256": "ab" * 32}],
        data=[DATA],
        verdict={"normal": False, "text": "loss 0.41 above the reference band 0.30-0.36"},
        reuse={
            "taken": 112,
            "new": 18,
            "frozen": 48,
            "loss_with_parent": 0.43,
            "loss_with_random": 1.02,
        },
        rows=[
            speed(
                **common,
                metric="kid",
                value=0.0412,
                low=0.0380,
                high=0.0444,
                unit="",
                n=1000,
                baselines={"shuffled_prompt": 0.0401, "init": 0.31},
                ceilings={"real": 0.0003},
                reference={"published": 0.021},
            ),
            speed(
                **common,
                metric="spice",
                value=None,
                unit="",
                better="higher",
                n=0,
                note="needs Java, which is not installed",
            ),
        ],
        exhibits=[
            images(
                "Drawn from words",
                [
                    (f"a {c} square", png(25 * i, 255 - 20 * i, 200))
                    for i, c in enumerate("abcdefghij")
                ],
                columns=8,
            ),
            audio("Read aloud", [("prompt 1", wav(), "a red square"), ("prompt 2", wav(), "blue")]),
            texts("Odd text", [("step 1", "</blockquote>", "<script>alert('owned')</script>")]),
        ],
    )
