"""What a recogniser is trained for: its clips' characters, in their order."""

from jaxtyping import Float
from torch import Tensor

from phase4_deploy.audio.batches import Batch
from phase4_deploy.speech.ctc import ctc_loss
from phase4_deploy.speech.encoder import SpeechRecogniser
from shared.objective import Objective


class Transcribe(Objective):
    """CTC: nats per character of the batch's texts; masking of the sound is the batches' affair."""

    model: SpeechRecogniser

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        log_probs, lengths = self.model(batch.mels, batch.lengths)
        return ctc_loss(log_probs, lengths, [*map(self.model.alphabet.encode, batch.texts)])
