"""A published vision-language model, measured again as its step did it."""

from phase2_multimodal.train_caption import CaptionConfig
from phase2_multimodal.train_vqa import VqaConfig
from phase2_multimodal.vision_language import blind, evaluate_answers, evaluate_captions
from phase2_multimodal.vision_language.generate import Speaker, load
from shared import hardware
from shared.artifact import Artifact
from shared.config import override
from shared.results import Row


def evaluate(artifact: Artifact) -> list[Row]:
    """The rows of its step."""
    import data

    hardware.set_threads(0)
    manifest = artifact.manifest
    about = {"artifact": artifact.id, "preset": manifest["preset"]}
    model, prompter = load(str(artifact.folder), hardware.device_name())
    speaker = Speaker(model, prompter)
    if manifest["step"] == "caption":
        config = override(CaptionConfig(), manifest["config"])
        pictures = data.load_pictures(config.data)
        return evaluate_captions.measure(speaker, pictures, config, **about).rows
    config = override(VqaConfig(), manifest["config"])
    twin = Speaker(blind.load(model, artifact.folder), prompter)
    pictures = data.load_pictures(config.data)
    return evaluate_answers.measure(speaker, twin, pictures, config, **about).rows
