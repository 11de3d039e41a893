import pytest
import torch

from face3d_cli.core.primitives import hemisphere, icosphere
from face3d_cli.errors import ShapeError
from face3d_cli.networks.meshnet import BabyMeshNet, MeshNet, summarise, summary_text

BABY = [
    ("Conv2d", (8, 254, 254), 224),
    ("MaxPool2d", (8, 127, 127), 0),
    ("Conv2d", (12, 125, 125), 876),
    ("MaxPool2d", (12, 62, 62), 0),
    ("Conv2d", (16, 60, 60), 1_744),
    ("MaxPool2d", (16, 30, 30), 0),
    ("Conv2d", (32, 28, 28), 4_640),
    ("MaxPool2d", (32, 14, 14), 0),
    ("Flatten", (6_272,), 0),
    ("Linear", (7_686,), 48_214_278),
]
GROWN = [
    ("Conv2d", (16, 126, 126), 880),
    ("MaxPool2d", (16, 63, 63), 0),
    ("Conv2d", (32, 61, 61), 4_640),
    ("MaxPool2d", (32, 30, 30), 0),
    ("Conv2d", (64, 28, 28), 18_496),
    ("MaxPool2d", (64, 14, 14), 0),
    ("Conv2d", (128, 12, 12), 73_856),
    ("MaxPool2d", (128, 6, 6), 0),
    ("Flatten", (4_608,), 0),
    ("Linear", (6_339,), 29_216_451),
    ("Linear", (6_339,), 29_216_451),
]


@pytest.mark.parametrize(
    ("kind", "table", "total"),
    [(BabyMeshNet, BABY, 48_221_762), (MeshNet, GROWN, 58_530_774)],
)
def test_summary_table_is_the_published_one(
    kind: type[BabyMeshNet] | type[MeshNet],
    table: list[tuple[str, tuple[int, ...], int]],
    total: int,
) -> None:
    network = kind()
    print(summary_text(network))  # noqa: T201 - pytest -s shows the published table
    lines = [line for line in summarise(network) if line.kind != "ReLU"]
    assert [(line.kind, line.output_shape, line.num_parameters) for line in lines] == table
    assert sum(p.numel() for p in network.parameters()) == total
    assert summary_text(network).endswith(f"{total:,} parameters")


def test_outputs_fit_their_templates() -> None:
    assert BabyMeshNet()(torch.rand(2, 3, 256, 256)).shape == (2, *icosphere().vertices.shape)
    offsets, colors = MeshNet()(torch.rand(2, 6, 128, 128))
    assert offsets.shape == colors.shape == (2, *hemisphere().vertices.shape)
    assert 0 <= float(colors.detach().min()) <= float(colors.detach().max()) <= 1


def test_wrong_input_is_refused_in_words() -> None:
    with pytest.raises(ShapeError, match=r"takes \(B, 6, 128, 128\), got \(1, 3, 128, 128\)"):
        MeshNet()(torch.zeros(1, 3, 128, 128))
