"""What metrics are called, and what they say."""

from shared.glossary import BASELINES, METRICS, metric_label, metric_meaning


def test_every_metric_of_the_design_is_explained():
    named = (
        "bits_per_byte perplexity fid kid inception_score cider spice bleu_4 meteor rouge_l "
        "vqa_accuracy clip_score recall_at_1 wer cer tokens_per_second latency_p50_ms mfu"
    )
    for name in named.split():
        label, sentence = METRICS[name]
        assert label
        assert sentence.endswith(".")


def test_every_metric_of_pictures_and_words_is_explained():
    ways = ["text_to_image", "image_to_text"]
    found = ["recall_at_1", "recall_at_5", "recall_at_10", "median_rank"]
    counted = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"]
    listed = (
        "zero_shot_accuracy clip_score clip_score_torchmetrics tuple_f1 gqa_accuracy "
        "daquar_accuracy wups_at_0_9 wups_at_0_0 vqa_accuracy meteor spice attribute_accuracy "
        "object_accuracy background_accuracy judge_accuracy"
    )
    named = [*listed.split(), *(f"{way}_{name}" for way in ways for name in found)]
    named += [*counted, *(f"{name}_simple" for name in counted)]
    assert all(metric_meaning(name).endswith(".") for name in named)
    assert len({metric_label(name) for name in named}) == len(named)
    floors = (
        "constant nearest_pixels nearest_features shuffled_image shuffled_prompt majority "
        "question_only random leave_one_out real"
    )
    assert {*floors.split()} <= BASELINES.keys()


def test_a_metric_names_its_direction_and_its_words():
    assert metric_label("text_to_image_recall_at_5") == "recall at 5 (text to picture)"
    meaning = metric_meaning("image_to_text_median_rank")
    assert meaning == f"{METRICS['median_rank'][1]} Words are looked for by their picture."
    assert metric_label("cider_simple") == "CIDEr (simple words)"
    assert "not to be compared" in metric_meaning("rouge_l_simple")


def test_a_metric_names_the_network_it_looked_through():
    assert metric_label("kid_efficientnet_lite0") == "KID (EfficientNet-lite0)"
    meaning = metric_meaning("kid_efficientnet_lite0")
    assert meaning.startswith(METRICS["kid"][1]) and "EfficientNet-lite0" in meaning
    assert metric_label("kid") == "KID" and metric_meaning("kid") == METRICS["kid"][1]
    assert metric_label("new_thing") == "new thing" and metric_meaning("new_thing") == ""
