"""Batches of pictures, each with one of its captions."""

import torch

from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
from phase2_multimodal.alignment.objective import Align, Pairs, encode
from phase2_multimodal.talks import talks_of
from phase2_multimodal.train_alignment import AlignmentTrainConfig


def test_each_picture_comes_with_one_of_its_own_captions(small_scenes, lexicon):
    talks = talks_of(small_scenes, "train", 16)
    pairs = Pairs(talks, lexicon, 10, seed=0)
    known = {talk.pixels.tobytes(): talk.captions for talk in map(talks.__getitem__, range(60))}
    drawn = set()
    for step in range(12):  # two epochs
        pictures, tokens, lengths = pairs.rows(step, slice(None))
        for picture, row, length in zip(pictures, tokens, lengths, strict=True):
            pixels = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous()
            said = lexicon.decode(row[:length].tolist())
            assert row[0] == lexicon.bos
            assert row[length - 1] == lexicon.eos
            assert said in known[pixels.numpy().tobytes()]
            drawn.add((pixels.numpy().tobytes(), said))
    assert len(drawn) > 90, "another caption in the second epoch, mostly"


def test_processes_share_a_batch(small_scenes, lexicon):
    pairs = Pairs(talks_of(small_scenes, "train", 16), lexicon, 8, seed=0)
    whole, halves = pairs.rows(3, slice(0, 8)), [pairs.rows(3, slice(i, i + 4)) for i in (0, 4)]
    assert torch.equal(whole[0], torch.cat([half[0] for half in halves]))
    assert torch.equal(whole[2], torch.cat([half[2] for half in halves]))
    assert [len(batch[0]) for batch in pairs.first(2)] == [8, 8]


def test_the_loss_is_the_models(small_scenes, lexicon, vision_config, language_config):
    model = AlignmentModel(AlignmentConfig(vision_config, language_config, 8)).eval()
    batch = Pairs(talks_of(small_scenes, "train", 16), lexicon, 8, seed=0).rows(0, slice(None))
    pictures, *text = batch
    loss = Align(model, AlignmentTrainConfig()).loss(batch)
    expected = model.loss(model.embed_pictures(pictures), model.embed_texts(*text))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith("vision"))


def test_texts_are_padded_on_the_right(lexicon):
    tokens, lengths = encode(lexicon, ["a dog", "a dog on a red background"])
    assert tokens[0, : lengths[0]].tolist() == [lexicon.bos, *lexicon.encode("a dog"), lexicon.eos]
    assert (tokens[0, lengths[0] :] == 0).all()
    assert lengths[1] == tokens.shape[1]
