import math

import pytest
import torch

from face3d_cli.diff.blending import blend_layers
from face3d_cli.diff.rasterize import rasterize_layers

TRIANGLES = torch.tensor([[0, 1, 2], [3, 4, 5]])


def two_sheets() -> tuple[torch.Tensor, torch.Tensor]:
    sheet = torch.tensor([[-20.0, -20, 1.0], [-20, 60, 1], [60, -20, 1]], dtype=torch.float64)
    points = torch.cat([sheet, sheet * torch.tensor([0.6, 0.6, 1]) + torch.tensor([0, 0, 1.5])])
    colors = torch.zeros(6, 3, dtype=torch.float64)
    colors[:3, 0], colors[3:, 1] = 1, 1  # a red sheet before a green one
    return points[None], colors


def test_weights_are_those_of_the_formula() -> None:
    points, colors = two_sheets()
    layers = rasterize_layers(points, TRIANGLES, 10, 10, 3)
    blue = torch.tensor([0.0, 0, 1]).double()
    mixed = blend_layers(layers, colors, blue, 0.8, background_depth=4.0)
    shares = [math.exp(-d / 0.8) for d in (1.0, 2.5, 4.0)]
    expected = torch.tensor(shares).double() / sum(shares)
    torch.testing.assert_close(mixed[0, 2, 2], expected)
    sharp = blend_layers(layers, colors, blue, 1e-3, background_depth=4.0)
    torch.testing.assert_close(sharp[0, 2, 2], torch.tensor([1.0, 0, 0]).double())
    assert layers[2].mask.sum() == 0


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_hidden_layers_get_gradients(gamma: float) -> None:
    points, colors = two_sheets()
    background = torch.tensor([0.1, 0.2, 0.3]).double()
    inputs = [t.requires_grad_(True) for t in (points, colors, background)]

    def picture(
        points: torch.Tensor, colors: torch.Tensor, background: torch.Tensor
    ) -> torch.Tensor:
        layers = rasterize_layers(points, TRIANGLES, 5, 6, 2)
        return blend_layers(layers, colors, background, gamma, background_depth=4.0)

    assert torch.autograd.gradcheck(picture, inputs)
    picture(*inputs).sum().backward()
    assert colors.grad[3:].abs().sum() > 0
