"""A student takes its teacher's beliefs, and the teacher stays what and where it was."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from phase3_scaling.compression.distill import DistilPictures, DistilTokens, divergence
from shared.errors import VermeilError
from shared.train_config import TrainConfig
from shared.training import fit

CONFIG = TrainConfig(
    steps=30, batch_size=8, learning_rate=5e-3, warmup=0, validate_every=30, checkpoint_every=30,
    precision="fp32", threads=1, trackers=(),
)  # fmt: skip
LANGUAGE = LanguageModelConfig(40, dim=16, layers=2, heads=2, kv_heads=1, mlp_dim=32, context=16)
VISION = VisionTransformerConfig(16, 4, 16, 2, 2, 32, classes=5, stem="conv", pool="mean")


def opinionated(model, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("norm" in name and "weight" in name), 0.3)
    return model


def student(**changes) -> VisionTransformer:
    return opinionated(VisionTransformer(dataclasses.replace(VISION, **changes)), 1)


class Texts:
    def rows(self, step, rows):
        generator = torch.Generator().manual_seed(step)
        return torch.randint(0, 40, (8, 13), generator=generator)[rows]


class Pictures:
    def rows(self, step, rows):
        generator = torch.Generator().manual_seed(step)
        pictures = torch.randn(8, 3, 16, 16, generator=generator)
        return pictures[rows], (torch.arange(8) % 5)[rows]


ALL = slice(None)


def train(objective, batches, folder):
    return fit(
        objective, batches, [batches.rows(999, ALL)], folder=folder, name="distil", unit="rows",
        amount_per_step=8, quiet=True,
    )  # fmt: skip


def test_divergence_by_hand():
    """Two classes: the teacher believes 3/4 to 1/4, the student 1/2 to 1/2."""
    teacher = torch.tensor([[3.0, 1.0]]).log()
    student = torch.zeros(1, 2)
    expected = 0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log()
    assert divergence(student, teacher, 1.0).item() == pytest.approx(expected.item())
    warm = torch.tensor([3.0**0.5, 1.0]) / (3.0**0.5 + 1)
    expected = 4 * (warm * (2 * warm).log()).sum()
    assert divergence(student, teacher, 2.0).item() == pytest.approx(expected.item(), rel=1e-5)
    assert divergence(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_gradients_keep_their_size_at_high_temperatures():
    """Section 2 of Hinton et al.: as the temperature rises they become (q - p) / classes."""
    student = torch.tensor([[0.3, -0.2, 0.1]], requires_grad=True)
    teacher = torch.tensor([[1.0, -1.0, 0.0]])
    divergence(student, teacher, 1000.0).backward()
    centred = student.detach() - student.detach().mean() - teacher
    torch.testing.assert_close(student.grad, centred / 3, atol=1e-3, rtol=1e-2)


def test_the_shares_of_hard_and_soft():
    teacher, model = (opinionated(LanguageModel(LANGUAGE), seed) for seed in (0, 1))
    batch = Texts().rows(0, ALL)
    logits, believed = model(batch[:, :-1]), teacher(batch[:, :-1])
    hard = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    soft = divergence(logits, believed, 2.0)
    objective = DistilTokens(model, CONFIG, teacher, temperature=2.0, hard=0.3)
    torch.testing.assert_close(objective.loss(batch), 0.3 * hard + 0.7 * soft)
    objective.eval()
    torch.testing.assert_close(objective.loss(batch), model.loss(batch))


def test_a_copy_of_the_teacher_has_only_hard_labels_to_learn_from():
    teacher = opinionated(VisionTransformer(VISION)).eval()
    model = copy.deepcopy(teacher)
    objective = DistilPictures(model, CONFIG, teacher, hard=0.25).train()
    model.eval()  # batch norms then say what the teacher's do
    pictures, labels = Pictures().rows(0, ALL)
    expected = 0.25 * F.cross_entropy(model(pictures), labels)
    torch.testing.assert_close(objective.loss((pictures, labels)), expected)


def kl(model, teacher, batches) -> float:
    with torch.no_grad():
        pictures = batches.rows(500, ALL)[0]
        return divergence(model.eval()(pictures), teacher(pictures), 1.0).item()


def test_the_teacher_teaches_and_stays_as_it_was(tmp_path):
    """A narrower student from random weights; the teacher's batch norms do not move either."""
    teacher = opinionated(VisionTransformer(VISION))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    model = student(dim=8, heads=1, layers=1)
    objective = DistilPictures(model, CONFIG, teacher, hard=0.0)
    projection = objective.projection.weight.detach().clone()
    far = kl(model, teacher, Pictures())
    train(objective, Pictures(), tmp_path)
    assert kl(model, teacher, Pictures()) < 0.7 * far
    assert all(torch.equal(t, before[name]) for name, t in teacher.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
    assert not torch.equal(objective.projection.weight, projection)
    saved = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)["state_dict"]
    ours = {f"model.{name}" for name in model.state_dict()}
    assert {*saved} == ours | {"projection.weight", "projection.bias"}


def test_a_language_model_learns_from_another(tmp_path):
    teacher = opinionated(LanguageModel(LANGUAGE)).eval()
    small = dataclasses.replace(LANGUAGE, layers=1, mlp_dim=16)
    taught = DistilTokens(opinionated(LanguageModel(small), 1), CONFIG, teacher, hard=0.0)
    tokens = Texts().rows(500, ALL)
    with torch.no_grad():
        far = divergence(taught.model(tokens), teacher(tokens), 1.0)
        train(taught, Texts(), tmp_path)
        near = divergence(taught.model.eval()(tokens), teacher(tokens), 1.0)
    assert near < 0.7 * far
    assert not any("teacher" in name or "hidden" in name for name in taught.state_dict())


def test_encoders_without_heads_learn_states_alone():
    teacher, model = opinionated(VisionTransformer(dataclasses.replace(VISION, classes=0))), None
    model = student(classes=0)
    objective = DistilPictures(model, CONFIG, teacher)
    batch = Pictures().rows(0, ALL)
    with torch.no_grad():
        expected = F.mse_loss(model.features(batch[0]), teacher.features(batch[0]))
    torch.testing.assert_close(objective.loss(batch).detach(), expected)


@pytest.mark.parametrize(
    "options, message",
    [({"temperature": 0.0}, "temperature of 0"), ({"temperature": float("nan")}, "temperature"),
     ({"hard": 1.5}, "1.5 is no share"), ({"hard": float("nan")}, "no share")],
)  # fmt: skip
def test_options_without_sense_are_refused(options, message):
    with pytest.raises(VermeilError, match=message):
        DistilPictures(student(), CONFIG, student(), **options)


def test_a_teacher_of_other_things_is_refused():
    with pytest.raises(VermeilError, match="knows 5 classes, the student 3"):
        DistilPictures(student(classes=3), CONFIG, student())
    with pytest.raises(VermeilError, match="16 patches, the student 4"):
        DistilPictures(student(patch=8), CONFIG, student())
    other = LanguageModel(dataclasses.replace(LANGUAGE, vocab_size=30))
    with pytest.raises(VermeilError, match="knows 40 tokens, the student 30"):
        DistilTokens(other, CONFIG, LanguageModel(LANGUAGE))
