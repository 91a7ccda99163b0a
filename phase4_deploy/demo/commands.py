"""`vermeil demo` and `vermeil export space`."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from shared.config import option, parse
from shared.errors import VermeilError
from shared.home import home

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class DemoCommand:
    """Which models to show, and where the page is to be found."""

    models: tuple[str, ...] = option((), "artifacts; by default one of each kind that is there")
    url: str = option("", "an API to ask instead, e.g. http://127.0.0.1:8000")
    key: str = option("", "the API's key; by default $VERMEIL_KEY")
    host: str = option("", "address to listen on; by default this machine alone")
    port: int = option(7860, "port to listen on", low=1, high=65535)
    page: Literal["gradio", "streamlit"] = option("gradio", "streamlit: a thin page on an API")


def demo(arguments: list[str]) -> None:
    """Show what was trained: write, caption, ask, draw, transcribe and chat on a page."""
    config = parse(DemoCommand, arguments, command="vermeil demo", about=str(demo.__doc__)).config
    if config.url and config.models:
        raise VermeilError("--models are opened here, --url asks an API", "give one of them")
    if config.host and config.host not in LOOPBACK:
        print(f"listening on {config.host}: whoever can reach this machine can use the demo")
    if config.page == "streamlit":
        _streamlit(config)
        return
    from phase4_deploy.demo.app import build, launch

    assistant = _assistant(config)
    page = build(assistant, home() / "reports" / "latest" / "report.html")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        _, address, _ = launch(
            page, config.host or None, config.port, quiet=True, prevent_thread_lock=True
        )
        print(f"Vermeil's demo: {address} (Ctrl-C ends it)", flush=True)
        ended.wait()
        page.close(verbose=False)
    finally:
        if hasattr(assistant, "close"):
            assistant.close()


def _assistant(config: DemoCommand) -> Any:
    """The models in this process, or an API's."""
    from phase4_deploy.serving.assistant import Local, Remote

    if config.url:
        return Remote(config.url, config.key or os.environ.get("VERMEIL_KEY", ""))
    return Local.open(config.models)


def _streamlit(config: DemoCommand) -> None:
    """The thin page, which needs an API to ask."""
    from importlib.util import find_spec

    if find_spec("streamlit") is None:
        raise VermeilError(
            "streamlit is not installed", "pip install -c constraints.txt -e '.[streamlit]'"
        )
    if not config.url:
        raise VermeilError(
            "the Streamlit page asks an API",
            "vermeil serve, and then: vermeil demo --page streamlit --url http://127.0.0.1:8000",
        )
    script = Path(__file__).with_name("streamlit_page.py")
    options = {
        "server.address": config.host or "127.0.0.1", "server.port": config.port,
        "server.headless": "true", "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false", "client.toolbarMode": "minimal",
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in options.items()]
    told = {"VERMEIL_URL": config.url, "PYTHONPATH": str(script.parents[2])}
    if config.key:
        told["VERMEIL_KEY"] = config.key
    command = [sys.executable, "-m", "streamlit", "run", str(script), *flags]
    raise SystemExit(subprocess.run(command, env=os.environ | told).returncode)


@dataclass(frozen=True)
class SpaceCommand:
    """What the Space holds and where its folder goes."""

    POSITIONAL: ClassVar = ("what",)

    what: str = option("space", "the front door's word")
    out: str = option("", "the folder to make")
    models: tuple[str, ...] = option((), "artifacts; by default one of each kind that is there")
    hub: str = option("", "USER/REPO: a model repository that the Space fetches the artifacts from")
    index: str = option("", "a package index for requirements.txt, e.g. one with torch for CPUs")


def export(arguments: list[str]) -> None:
    """Make the folder of a Hugging Face Space: the demo, its code and its models."""
    about = str(export.__doc__)
    config = parse(SpaceCommand, arguments, command="vermeil export", about=about).config
    if not config.out:
        raise VermeilError("which folder?", "vermeil export space --out DIR")
    from phase4_deploy.demo.space import make

    found = make(Path(config.out), config.models, config.hub, config.index)
    print(f"wrote {config.out}: {', '.join(artifact.id for artifact in found)}")
    if config.hub:
        for artifact in found:
            place = "/".join(("artifacts", *artifact.folder.parts[-3:]))
            print(f"  hf upload {config.hub} {artifact.folder} {place}")
    print(f"try it: python {Path(config.out) / 'app.py'}")
    print(f"publish it: hf upload USER/SPACE {config.out} . --repo-type space")
