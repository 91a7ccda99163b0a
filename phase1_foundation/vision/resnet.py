"""ResNet-18 by timm, the quick start: a convolutional network to compare with (He et al., 2016)."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from shared.artifact import Pretrained


@dataclass(frozen=True)
class ResNetConfig:
    """Pictures up to `SMALL` pixels get CIFAR's stem: it keeps them at their size."""

    size: int
    classes: int


SMALL = 64


class ResNet(nn.Module, Pretrained):
    """timm's resnet18 behind the vision encoder's three calls."""

    config_class = ResNetConfig

    def __init__(self, config: ResNetConfig):
        from timm.models import create_model

        super().__init__()
        self.config = config
        self.net: Any = create_model("resnet18", pretrained=False, num_classes=config.classes)
        if config.size <= SMALL:
            self.net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.net.maxpool = nn.Identity()

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Logits of the classes."""
        return self.net(x)

    def embed(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c"]:
        """One feature a picture: the mean over its places."""
        return self.features(x).mean(dim=1)

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t c"]:
        """The last layer's places, row by row."""
        return self.net.forward_features(x).flatten(2).transpose(1, 2)
