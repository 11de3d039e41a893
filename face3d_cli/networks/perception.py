"""Which network judges likeness? VGG-19 where it was pulled, else our own U-Net's encoder."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from face3d_cli.errors import ModelError
from face3d_cli.weights.store import find_model

Features = Callable[[Tensor], list[Tensor]]  # (B, 3, H, W) in [0, 1] -> one map per layer


def load_perception() -> tuple[str, Features]:
    """The features of the perceptual loss, and the name of their model.

    Raises:
        ModelError: neither VGG-19 nor the shipped U-Net is there, or a file is damaged.
    """
    try:
        path = find_model("vgg19")["vgg19-dcbb9e9d.pth"]
    except ModelError:
        return "unet-face", load_unet_features()
    from face3d_cli.networks.vgg19 import load_vgg19

    return "vgg19", load_vgg19(path).encode


def load_unet_features() -> Features:
    """The encoder of the shipped segmentation U-Net, on pictures padded to its grid.

    Raises:
        ModelError: the weights are missing or damaged.
    """
    from torch.nn.functional import pad

    from face3d_cli.networks.unet import load_unet

    network = load_unet(find_model("unet-face")["unet-face.safetensors"]).requires_grad_(False)
    multiple = network.config.multiple

    def features(image: Tensor) -> list[Tensor]:
        height, width = image.shape[-2:]
        right, below = -width % multiple, -height % multiple
        return network.encode(pad(2.0 * image - 1.0, (0, right, 0, below), mode="replicate"))

    return features
