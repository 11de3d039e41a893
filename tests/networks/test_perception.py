from pathlib import Path

import pytest
import torch

from face3d_cli.errors import ModelError
from face3d_cli.networks.vgg19 import Vgg19, load_vgg19


def test_vgg19_has_torchvisions_names_and_size() -> None:
    with torch.device("meta"):
        network = Vgg19()
    assert sum(p.numel() for p in network.parameters()) == 143_667_240
    names = list(network.state_dict())
    numbers = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    expected = [f"features.{n}.{kind}" for n in numbers for kind in ("weight", "bias")]
    expected += [f"classifier.{n}.{kind}" for n in (0, 3, 6) for kind in ("weight", "bias")]
    assert names == expected


def test_features_halve_in_size_and_carry_gradients() -> None:
    network = Vgg19.__new__(Vgg19)
    torch.nn.Module.__init__(network)
    with torch.device("meta"):
        whole = Vgg19()
    network.features = whole.features.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in network.features.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    found = network.encode(image)
    assert [tuple(f.shape[1:]) for f in found] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]
    assert all((f >= 0).all() for f in found)  # after the ReLU
    found[-1].sum().backward()
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize("content", [b"not weights", b""])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vgg19.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="VGG-19"):
        load_vgg19(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vgg19.pth"
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(ModelError, match="Missing key"):
        load_vgg19(path)
