"""The front door: `vermeil COMMAND ...`, two tables of steps and commands, imported when asked for.

`vermeil` alone prints the map of the curriculum, without importing torch.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

# `shared`, `data` and `tests` are common names: this checkout's own come first.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from shared.errors import VermeilError, nearest
from shared.step import Step, user_errors

PHASES = {
    "phase1_foundation": "one modality at a time",
    "phase2_multimodal": "modalities meet",
    "phase3_scaling": "more machines, fewer bits, fewer weights",
    "phase4_deploy": "speech joins, the door opens",
}
STEPS = {  # the curriculum in order: name -> the module that defines STEP
    "tokenizer": "phase1_foundation.train_tokenizer",
    "lm": "phase1_foundation.train_lm",
    "diffusion": "phase1_foundation.train_diffusion",
    "vision": "phase1_foundation.train_vision",
    "alignment": "phase2_multimodal.train_alignment",
    "caption": "phase2_multimodal.train_caption",
    "vqa": "phase2_multimodal.train_vqa",
    "text_to_image": "phase2_multimodal.train_text_to_image",
    "scaling": "phase3_scaling.train_scaling",
    "quantize": "phase3_scaling.train_quantize",
    "prune": "phase3_scaling.train_prune",
    "distill": "phase3_scaling.train_distill",
    "speech": "phase4_deploy.train_speech",
    "unified": "phase4_deploy.train_unified",
    "serve": "phase4_deploy.train_serve",
}
ASIDE = {"distill"}  # made for whoever asks, by `vermeil train`
WALK = tuple(name for name in STEPS if name not in ASIDE)  # `vermeil run`
COMMANDS = {  # name -> what it does, and how it is called
    "run": ("walk every step that is not done yet", "run [smoke|tiny|small|base] [--jobs N]"),
    "train": ("make one step's artifact", "train STEP [PRESET] [--key value ...]"),
    "eval": ("measure an artifact again", "eval lm|diffusion|vision|caption|..."),
    "bench": ("time it beside its peers", "bench lm|diffusion|scaling|compress|..."),
    "sample": ("write or draw with a trained model", 'sample lm "She had been"'),
    "caption": ("say what a picture shows", "caption PICTURE.png"),
    "ask": ("answer a question about a picture", 'ask PICTURE.png "what is it?"'),
    "transcribe": ("write down what is said", "transcribe FILE.wav"),
    "draw": ("draw what words say", 'draw "a dog on blue" --out dog.png'),
    "serve": ("answer over HTTP, as OpenAI's API does", "serve [--port 8000]"),
    "demo": ("a page to try it all", "demo [--port 7860]"),
    "keys": ("who may use the API", "keys add|list|revoke NAME"),
    "export": ("take a model elsewhere", "export lm --to hf --out DIR"),
    "plan": ("memory, time and cost of a training", "plan --gpus 8 --params 1e9 --tokens 2e10"),
    "submit": ("train on a cluster", "submit slurm|kubernetes -- train lm base"),
    "data": ("data sets: list, prepare, show", "data list"),
    "report": ("results as JSON, Markdown and one HTML page", "report"),
    "doctor": ("check this machine and this installation", "doctor"),
}


def step(name: str) -> Step:
    """The step of that name, imported."""
    if name not in STEPS:
        raise VermeilError(f"there is no step '{name}'", nearest(name, list(STEPS)))
    return import_module(STEPS[name]).STEP


def map_of_the_curriculum() -> str:
    """What `vermeil` alone prints."""
    lines = ["Vermeil: one model that reads, writes, looks, answers, draws and listens.", ""]
    for phase, about in PHASES.items():
        lines.append(f"{phase:<20} {about}")
        names = [name for name, module in STEPS.items() if module.startswith(phase)]
        lines += [f"  {name:<19}by itself" if name in ASIDE else f"  {name}" for name in names]
    lines += ["", "begin with: vermeil run tiny", ""]
    lines += [f"  vermeil {usage:<42} {about}" for about, usage in COMMANDS.values()]
    return "\n".join(lines)


def run(arguments: list[str]) -> None:
    """Walk the curriculum; the page that `vermeil run --help` prints stands in shared/walk.py."""
    from shared.walk import main

    main(arguments, [step(name) for name in WALK])
    if "--help" not in arguments and "--dry-run" not in arguments:
        print('\nnext: vermeil sample lm "The people"')
        print("      vermeil sample diffusion --class flags --grid flags.png")
        print('      vermeil draw "a star at the top right with purple behind" --out star.png')
        print('      vermeil ask star.png "what color is the background?"')
        print("      vermeil transcribe RECORDING.wav")
        print("try it all: vermeil demo     answer over HTTP: vermeil serve")


TRAIN_HELP = f"""usage: vermeil train STEP [PRESET] [--config FILE] [--key value ...] [engine]

steps: {" ".join(STEPS)}; `vermeil train STEP --help` shows a step's presets and keys

engine
  --strategy NAME         single (one process), ddp, fsdp, deepspeed_zero1|2|3, horovod
  --processes N           how many processes to start here (or start them yourself: torchrun
                          -m vermeil train ..., deepspeed --module vermeil, srun)
  --restarts N            how often a process that died is started again, from the checkpoint
  --offload [parameters]  DeepSpeed: a GPU's optimizer (and parameters) in its CPU's memory
  --deepspeed_config FILE DeepSpeed: your own JSON"""


def train(arguments: list[str]) -> None:
    """Train one step; `--strategy` and `--processes` choose an engine from phase 3."""
    if arguments and arguments[0] in HELP:
        print(TRAIN_HELP)
        return
    if not arguments or arguments[0].startswith("-"):
        raise VermeilError("train which step?", f"vermeil train {'|'.join(STEPS)} [PRESET]")
    from phase3_scaling.distributed.launch import take_engine

    chosen = step(arguments[0])
    engine, rest = take_engine(arguments[1:], command=["train", chosen.name])
    artifact = chosen.train(chosen.parse(rest), engine)
    from shared.home import home
    from shared.results import Results
    from shared.walk import headline

    results = Results.load(home() / "runs" / chosen.name / artifact.folder.name)
    print("\n".join([artifact.id, *headline(results), str(artifact.folder)]))


def report(arguments: list[str]) -> None:
    from shared.report import main

    main(arguments, list(STEPS))


def data(arguments: list[str]) -> None:
    from data.command import main

    main(arguments)


def reference(arguments: list[str]) -> None:
    """For maintainers: ship the expected loss of a preset (`make reference`)."""
    from shared.reference import main

    if len(arguments) != 2:
        raise VermeilError("which step and preset?", "make reference STEP=lm PRESET=tiny")
    main(step(arguments[0]), arguments[1])


def doctor(arguments: list[str]) -> None:
    from shared.doctor import main

    main(arguments)


def step_of(artifact: str) -> str:
    """The step that made an artifact: "lm" of lm, lm@tiny, phase1/lm@tiny and of its folder."""
    if Path(artifact).is_dir():
        from shared.artifact import read_manifest

        return read_manifest(Path(artifact))["step"]
    return artifact.rpartition("/")[2].partition("@")[0]


def role_of(artifact: str) -> str:
    """The step whose models it can take the place of: "lm" of a language model's student."""
    step = step_of(artifact)
    if step not in ("prune", "distill"):
        return step
    from shared.artifact import find

    return find(artifact).role


def for_step(verb: str, modules: dict[str, str], kind: Callable[[str], str] = step_of):
    """A command whose first argument names a step or its artifact: eval, bench, sample, export."""

    def command(arguments: list[str]) -> None:
        usage = f"vermeil {verb} {'|'.join(modules)} [--key value ...]"
        if arguments and arguments[0] in HELP:
            print(f"usage: {usage}\n\n`vermeil {verb} {next(iter(modules))} --help` shows the keys")
            return
        name = kind(arguments[0]) if arguments else ""
        if name not in modules:
            raise VermeilError(f"cannot {verb} '{name}'" if name else f"{verb} what?", usage)
        getattr(import_module(modules[name]), verb)(arguments)

    return command


def plain(verb: str, module: str):
    """A command that a module has under its own name."""
    return lambda arguments: getattr(import_module(module), verb)(arguments)


def ask(arguments: list[str]) -> None:
    """A typed question is phase 2's affair, a spoken one phase 4's."""
    spoken = any(word.partition("=")[0] == "--audio" for word in arguments)
    module = "phase4_deploy.commands" if spoken else "phase2_multimodal.vision_language.commands"
    import_module(module).ask(arguments)


HELP = ("-h", "--help", "help")
RUNS = {
    "run": run,
    "train": train,
    "eval": for_step(
        "eval",
        {
            "lm": "phase1_foundation.language.commands",
            "diffusion": "phase1_foundation.diffusion.commands",
            "vision": "phase1_foundation.vision.commands",
            "alignment": "phase2_multimodal.alignment.commands",
            "caption": "phase2_multimodal.vision_language.commands",
            "vqa": "phase2_multimodal.vision_language.commands",
            "text_to_image": "phase2_multimodal.text_to_image.commands",
            "speech": "phase4_deploy.commands",
            "unified": "phase4_deploy.commands",
        },
    ),
    "bench": for_step(
        "bench",
        {
            "lm": "phase1_foundation.language.commands",
            "diffusion": "phase1_foundation.diffusion.commands",
            "multimodal": "phase2_multimodal.vision_language.commands",
            "pictures": "data.loading_bench",
            "shakespeare": "phase1_foundation.language.shakespeare",
            "tokenizer": "phase1_foundation.language.tokenizer_study",
            "scaling": "phase3_scaling.distributed.bench",
            "compress": "phase3_scaling.compression.bench",
            "speech": "phase4_deploy.commands",
            "serve": "phase4_deploy.serving.bench",
        },
    ),
    "sample": for_step(
        "sample",
        {
            "lm": "phase1_foundation.language.commands",
            "diffusion": "phase1_foundation.diffusion.commands",
        },
        role_of,
    ),
    "export": for_step(
        "export",
        {
            "lm": "phase1_foundation.language.commands",
            **dict.fromkeys(
                ("vision", "diffusion", "caption", "vqa", "text_to_image"),
                "phase3_scaling.compression.onnx_graphs",
            ),
            "space": "phase4_deploy.demo.commands",
            "hub": "phase4_deploy.hub",
        },
        role_of,
    ),
    "caption": plain("caption", "phase2_multimodal.vision_language.commands"),
    "ask": ask,
    "transcribe": plain("transcribe", "phase4_deploy.commands"),
    "draw": plain("draw", "phase2_multimodal.text_to_image.commands"),
    "serve": plain("serve", "phase4_deploy.serving.commands"),
    "demo": plain("demo", "phase4_deploy.demo.commands"),
    "keys": plain("keys", "phase4_deploy.serving.key_commands"),
    "plan": plain("plan", "phase3_scaling.distributed.plan"),
    "submit": plain("submit", "phase3_scaling.distributed.submit"),
    "data": data,
    "report": report,
    "doctor": doctor,
    "reference": reference,
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a user's mistake ends with a sentence, not with a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    if not arguments or arguments[0] in HELP:
        print(map_of_the_curriculum())
        return
    with user_errors(debug):
        name, *rest = arguments
        if name not in RUNS:
            raise VermeilError(f"there is no command '{name}'", nearest(name, list(RUNS)))
        RUNS[name](rest)


if __name__ == "__main__":
    main()
