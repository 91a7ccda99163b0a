"""Live servers: `vermeil serve` in processes of their own, on models of random weights.

The models are made once a session and cost nothing. Their embeddings are loud, so that greedy
answers differ, and those of the reserved symbols are zero, so that answers do not end by chance.
"""

import base64
import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import openai
import pytest
import soundfile
import torch
from PIL import Image

from data.scene_words import captions
from data.scenes import Scenes
from phase1_foundation.diffusion.model import DiffusionConfig
from phase1_foundation.language import chat
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.vision_language.model import VisionLanguageConfig
from phase4_deploy.serving.keys import KeyStore
from phase4_deploy.speech.encoder import (
    SpeechEncoderConfig,
    SpeechRecogniser,
    SpeechRecogniserConfig,
)
from phase4_deploy.unified.model import UnifiedModel, with_ear
from shared.artifact import publish

ROOT = Path(__file__).resolve().parents[3]
CONTEXT = 2048  # long, so that there is time to leave in the middle of an answer


def models() -> Iterator[tuple[str, torch.nn.Module]]:
    """One of each kind: (phase/step, model)."""
    vision = VisionTransformerConfig(16, 4, dim=16, layers=1, heads=2, mlp_dim=32)
    language = LanguageModelConfig(
        400, dim=24, layers=2, heads=2, kv_heads=1, mlp_dim=48, context=CONTEXT
    )
    ear = SpeechRecogniserConfig(SpeechEncoderConfig(dim=16, layers=1, heads=2, mlp_dim=32))
    looks = VisionLanguageConfig(vision, language)
    drawing = DiffusionConfig(16, ("none",), widths=(8, 16), layers=1, heads=2, mlp_dim=32)
    yield "phase1/lm", LanguageModel(language)
    yield "phase2/alignment", AlignmentModel(AlignmentConfig(vision, language, dim=16))
    yield "phase2/text_to_image", TextToImageModel(TextToImageConfig(drawing, language))
    yield "phase4/speech", SpeechRecogniser(ear)
    yield "phase4/unified", UnifiedModel(with_ear(looks, ear, stack=4))


@torch.no_grad()
def _loud(model: torch.nn.Module) -> None:
    """Random weights that say something."""
    for name, parameter in model.named_parameters():
        if "norm" not in name and parameter.ndim > 1:
            parameter.normal_(0, 0.7 if "embed" in name else 0.3)
        if name.endswith("embed.weight"):
            parameter[: len(chat.SYMBOLS)] = 0


@pytest.fixture(scope="session")
def models_home(tmp_path_factory) -> Path:
    """A $VERMEIL_HOME with an artifact of each kind that is served; not to be changed."""
    scenes, home = Scenes(), tmp_path_factory.mktemp("served")
    texts = ["\n".join(captions(scenes.scene("train", number))) for number in range(200)]
    tokenizer = Tokenizer.train(texts, 400, "bpe", threads=1)
    torch.manual_seed(0)
    for name, model in models():
        _loud(model)

        def save(folder: Path, model=model) -> None:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        manifest = {"id": f"{name}@random-0", "step": name.partition("/")[2], "preset": "random",
                    "created": "2026-01-02T03:04:05+00:00", "config": {}, "config_sha256": "",
                    "parents": {}, "data": [], "seed": 0, "metrics": []}  # fmt: skip
        publish(home / "artifacts" / name / "random-0", save, manifest, "# random\n")
    return home


class Server:
    """`vermeil serve` in a process; its stderr goes to a file, so that it never has to wait."""

    def __init__(self, home: Path, log: Path, *options: str):
        self.log, self.home, self.opened = log, home, []
        environment = os.environ | {
            "VERMEIL_HOME": str(home), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        command = [sys.executable, "-m", "vermeil", "serve", "--port", "0", "--threads", "1"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, *options], cwd=ROOT, env=environment, stderr=file, stdout=file
            )

    def started(self, seconds: float = 120.0) -> "Server":
        """Wait until it listens; fails with what it said."""
        until = time.monotonic() + seconds
        while not (found := re.search(r"(http://\S+)/docs", self.said)):
            if self.process.poll() is not None or time.monotonic() > until:
                self.process.kill()
                pytest.fail(f"the server did not start:\n{self.said}")
            time.sleep(0.05)
        self.url = found[1]
        self.http = self.web(base_url=self.url)
        return self

    def web(self, **more) -> httpx.Client:
        """An HTTP client that is closed with the server."""
        self.opened.append(httpx.Client(timeout=120, trust_env=False, **more))
        return self.opened[-1]

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def rss(self) -> float:
        """Memory of the process now, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def metric(self, name: str) -> float:
        """A number of /metrics, e.g. `vermeil_queue_depth{lane="lm"}`."""
        text = self.http.get("/metrics").text
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]

    def client(self, key: str = "none", **more) -> openai.OpenAI:
        """OpenAI's own client, asking once."""
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=key, http_client=self.web(), max_retries=0, **more
        )

    def stop(self, sent: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Its exit status."""
        for web in self.opened:
            web.close()
        if self.process.poll() is None:
            self.process.send_signal(sent)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture(scope="session")
def serve(models_home, tmp_path_factory) -> Iterator[Callable[..., Server]]:
    """Starts servers: serve("--models", "lm", home=FOLDER); all are stopped at the end."""
    servers: list[Server] = []

    def start(*options: str, home: Path = models_home) -> Server:
        servers.append(Server(home, tmp_path_factory.mktemp("log") / "stderr", *options))
        return servers[-1]

    yield start
    for server in servers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.stop()


@pytest.fixture(scope="session")
def live(serve) -> Server:
    """A server of all models, open to this machine."""
    return serve("--body_seconds", "20").started()


class Strict(NamedTuple):
    """A small server of the language model alone, with keys, and little room."""

    server: Server
    store: KeyStore


@pytest.fixture(scope="session")
def strict(serve, models_home, tmp_path_factory) -> Iterator[Strict]:
    """Two answers at a time, two that wait; bodies of 1 MB in 2 s; its models are its own."""
    home = tmp_path_factory.mktemp("strict")
    shutil.copytree(models_home / "artifacts/phase1", home / "artifacts/phase1")
    server = serve(
        "--rows", "2", "--queue", "2", "--body_seconds", "2", "--body_mb", "1",
        "--tokens", "2000", "--guard_metrics", "true", "--variant", "fp32", home=home,
    )  # fmt: skip
    store = KeyStore(f"sqlite:///{home / 'serving.sqlite'}")
    yield Strict(server.started(), store)
    store.close()


@pytest.fixture(scope="session")
def client(live) -> openai.OpenAI:
    """OpenAI's client, pointed at the live server."""
    return live.client()


@pytest.fixture(scope="session")
def scene() -> bytes:
    """A picture as a PNG."""
    picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def scene_uri(scene) -> str:
    return f"data:image/png;base64,{base64.b64encode(scene).decode()}"


@pytest.fixture(scope="session")
def recording() -> Callable[..., bytes]:
    """recording(seconds, format): a voice in bursts of a second, every two."""

    def made(seconds: float = 2.0, form: str = "WAV") -> bytes:
        rate = 16_000
        time = np.arange(int(rate * seconds)) / rate
        voice = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12))
        voice *= 0.2 * (0.55 + 0.45 * np.sin(2 * np.pi * 5 * time)) * (time % 2 > 0.7)
        noise = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
        buffer = io.BytesIO()
        soundfile.write(buffer, voice + noise, rate, format=form)
        return buffer.getvalue()

    return made
