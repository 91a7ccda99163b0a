"""What metrics are called, and what they say."""

from shared.glossary import METRICS, metric_label, metric_meaning


def test_every_metric_of_the_design_is_explained():
    named = (
        "bits_per_byte perplexity fid kid inception_score cider spice bleu_4 meteor rouge_l "
        "vqa_accuracy clip_score recall_at_1 wer cer tokens_per_second latency_p50_ms mfu"
    )
    for name in named.split():
        label, sentence = METRICS[name]
        assert label
        assert sentence.endswith(".")


def test_a_metric_names_the_network_it_looked_through():
    assert metric_label("kid_efficientnet_lite0") == "KID (EfficientNet-lite0)"
    meaning = metric_meaning("kid_efficientnet_lite0")
    assert meaning.startswith(METRICS["kid"][1]) and "EfficientNet-lite0" in meaning
    assert metric_label("kid") == "KID" and metric_meaning("kid") == METRICS["kid"][1]
    assert metric_label("new_thing") == "new thing" and metric_meaning("new_thing") == ""
