"""What the model says about pictures: greedy, sampled, by beams, or the likeliest of candidates."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from phase1_foundation.language.decode import Batch, Decoder
from phase1_foundation.language.generate import Chooser, Sampling, write
from phase1_foundation.language.model import KVCache
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.vision_language.model import VisionLanguageModel, mask_of
from phase2_multimodal.vision_language.prompts import Prompter
from shared.artifact import locate

GREEDY = Sampling(max_tokens=32, temperature=0.0)
LENGTH_PENALTY = 0.7  # Wu et al., 2016, eq. 14, without its constant: score / length ** 0.7


def load(name: str, device: str = "cpu") -> tuple[VisionLanguageModel, Prompter]:
    """A published model and its way to ask: an artifact's name, a folder, a Hub repository."""
    folder = locate(name)
    return (
        VisionLanguageModel.from_pretrained(folder, device),
        Prompter(Tokenizer.from_pretrained(folder)),
    )


class Speaker:
    """A model prepared to talk: matrices packed once, any number of pictures and questions."""

    def __init__(self, model: VisionLanguageModel, prompter: Prompter, rows: int = 64):
        self.model, self.prompter, self.rows = model, prompter, rows
        self.decoder = Decoder(model.language, rows)

    @torch.inference_mode()
    def look(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        """The prefixes of pictures, to be used for any number of questions."""
        device = self.model.language.embed.weight.device
        opening = self.prompter.opening.to(device)
        parts = pictures.to(device).split(self.rows)
        return torch.cat([self.model.prefix(part, opening) for part in parts])

    def say(
        self,
        prefix: Float[Tensor, "b p d"],
        questions: Sequence[str],
        sampling: Sampling = GREEDY,
        beams: int = 1,
    ) -> list[str]:
        """An answer a row; row i of a sampled batch uses seed + i."""
        prompts = [self.prompter.question(question) for question in questions]
        found: dict[int, list[int]] = {}
        # Rows of like length go together: less padding, and beams want equal lengths.
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
        for rows in _batches(order, self.rows, prompts if beams > 1 else None):
            part, asked = prefix[rows], [prompts[row] for row in rows]
            if beams > 1:
                ids = self._beam_search(part, asked, sampling.max_tokens, beams)
            else:
                ids = self._write(part, asked, sampling, rows)
            found |= dict(zip(rows, ids, strict=True))
        return [self.prompter.tokenizer.decode(found[row]).strip() for row in range(len(prompts))]

    @torch.inference_mode()
    def _read(
        self, prefix: Float[Tensor, "b p d"], prompts: Sequence[Sequence[int]]
    ) -> tuple[KVCache, list[int], Float[Tensor, "b v"]]:
        """The picture and the prompts, padded on the right: cache, lengths, logits."""
        language, device = self.model.language, prefix.device
        longest = max(map(len, prompts))
        padded = torch.tensor([[*p, *[0] * (longest - len(p))] for p in prompts], device=device)
        x = torch.cat([prefix, language.embed(padded).to(prefix.dtype)], dim=1)
        cache = KVCache(language, len(prompts), x.shape[1])
        mask = mask_of(torch.ones_like(padded), prefix.shape[1])
        states = language.hidden_states(x, mask=mask, cache=cache)
        lengths = [prefix.shape[1] + len(prompt) for prompt in prompts]
        last = torch.tensor(lengths, device=device) - 1
        logits = language.head(states[torch.arange(len(prompts), device=device), last])
        return cache, lengths, logits.float()

    @torch.inference_mode()
    def _write(
        self, prefix: Tensor, prompts: Sequence[Sequence[int]], sampling: Sampling,
        rows: Sequence[int],
    ) -> list[list[int]]:  # fmt: skip
        """One token a step by the fast decoder of phase 1."""
        cache, lengths, logits = self._read(prefix, prompts)
        steps = min(sampling.max_tokens, self.model.config.language.context - max(lengths))
        batch = Batch(self.decoder, len(prompts), max(lengths) + max(steps, 1))
        batch.take_over(cache, lengths)
        chooser = Chooser(sampling, prompts, logits.shape[-1], logits.device)
        for generator, row in zip(chooser.generators, rows, strict=True):
            generator.manual_seed(sampling.seed + row)
        said: list[list[int]] = [[] for _ in prompts]
        for step in write(batch, logits, chooser, steps, (self.prompter.end,)):
            for row, token in zip(said, step, strict=True):
                row += [] if token is None else [token]
        return said

    @torch.inference_mode()
    def _beam_search(
        self, prefix: Tensor, prompts: Sequence[Sequence[int]], most: int, beams: int
    ) -> list[list[int]]:
        """The best of `beams` hypotheses a row by log probability over length ** 0.7.

        One that has ended goes on with the end symbol at no cost, so that all keep in step.
        """
        language, end = self.model.language, self.prompter.end
        b, device = len(prompts), prefix.device
        cache, lengths, logits = self._read(prefix, prompts)
        cache = _widened(cache, language, beams, most)
        scores = torch.full((b, beams), float("-inf"), device=device)
        scores[:, 0] = 0.0  # all beams are alike at first
        logits = logits.repeat_interleave(beams, dim=0)
        said = torch.empty(b, beams, 0, dtype=torch.long, device=device)
        ended = torch.zeros(b, beams, dtype=torch.bool, device=device)
        first = torch.arange(b, device=device)[:, None] * beams
        for _ in range(min(most, self.model.config.language.context - lengths[0])):
            step = logits.log_softmax(dim=-1).view(b, beams, -1)
            only_end = torch.full_like(step, float("-inf"))
            only_end[..., end] = 0.0
            step = torch.where(ended[..., None], only_end, step)
            together = (scores[..., None] + step).flatten(1)  # (B, beams V)
            scores, best = together.topk(beams, dim=1)
            parent, token = best // step.shape[-1], best % step.shape[-1]  # (B, beams)
            said = torch.cat(
                [said.gather(1, parent[..., None].expand_as(said)), token[..., None]], dim=2
            )
            ended = ended.gather(1, parent) | (token == end)
            if ended.all():
                break
            rows = (first + parent).flatten()
            for layer in cache.layers:
                layer.keys, layer.values = layer.keys[rows], layer.values[rows]
            states = language.hidden_states(language.embed(token.view(-1, 1)), cache=cache)
            logits = language.head(states[:, -1]).float()
        long = (said != end).sum(dim=-1).clamp(min=1)
        best = (scores / long**LENGTH_PENALTY).argmax(dim=1)
        chosen = said[torch.arange(b, device=device), best].tolist()
        return [[token for token in row if token != end] for row in chosen]

    @torch.inference_mode()
    def rank(
        self, prefix: Float[Tensor, "1 p d"], question: str, candidates: Sequence[str]
    ) -> Float[Tensor, " candidates"]:
        """The log probability of each whole answer to a question about one picture."""
        packed = self.prompter.pack([[(question, candidate)] for candidate in candidates])
        tokens, segments, answers = (part.to(prefix.device) for part in packed)
        one = prefix.expand(len(candidates), -1, -1)
        hidden = self.model.hidden_states(one, tokens, segments)[:, :-1]
        logits = self.model.language.head(hidden).float().log_softmax(dim=-1)
        each = logits.gather(2, tokens[:, 1:, None])[..., 0]
        return (each * answers[:, 1:]).sum(dim=1)


def _widened(cache: KVCache, language, beams: int, more: int) -> KVCache:
    """The same keys and values for every beam, with room to grow."""
    b, length = len(cache.layers[0].keys), cache.length
    wide = KVCache(language, b * beams, length + more)
    for old, new in zip(cache.layers, wide.layers, strict=True):
        for name in ("keys", "values"):
            getattr(new, name)[:, :, :length] = getattr(old, name).repeat_interleave(beams, dim=0)
        new.length = length
    return wide


def _batches(order: Sequence[int], size: int, prompts: Sequence | None) -> list[list[int]]:
    """Rows in batches of at most `size`; with `prompts`, of prompts of one length."""
    batches: list[list[int]] = []
    for row in order:
        alike = not prompts or not batches or len(prompts[batches[-1][-1]]) == len(prompts[row])
        if batches and alike and len(batches[-1]) < size:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
