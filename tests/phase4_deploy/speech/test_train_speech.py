"""What a recogniser learns from, as its options say."""

from phase4_deploy.train_speech import SpeechConfig, inputs
from shared.config import Choice


def test_what_it_begins_with_belongs_to_its_inputs():
    """So that another text to read, or another voice, is another run."""

    def names(config: SpeechConfig) -> list[str]:
        return [data.name for data in inputs(Choice("tiny", config)).data]

    assert names(SpeechConfig(data="embedded_speech")) == ["embedded_speech"]
    both = SpeechConfig(data="embedded_speech", first="spoken_prose")
    assert names(both) == ["embedded_speech", "spoken_prose"]
