import pytest
import torch
from torch import Tensor

from face3d_cli.diff.cameras import (
    PerspectiveCamera,
    ScaledOrthographicCamera,
    rotation_from_axis_angle,
)


def number(*values: float) -> Tensor:
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)


def test_up_in_the_world_is_up_in_the_picture() -> None:
    camera = ScaledOrthographicCamera(torch.eye(3).double(), number(10.0), number(50.0, 40.0))
    image = camera.project(number(0.0, 0, 0, 1, 2, 3).reshape(1, 2, 3))
    assert image[0].tolist() == [[50, 40, 0], [60, 20, -3]]  # nearer is less deep


def test_perspective_divides_by_distance() -> None:
    camera = PerspectiveCamera(
        torch.eye(3).double(), number(0.0, 0, -10), number(100.0), number(32.0, 24.0)
    )
    image = camera.project(number(1.0, 1, 0, 1, 1, 5).reshape(1, 2, 3))
    assert image[0].tolist() == [[42, 14, 10], [52, 4, 5]]


def test_both_cameras_agree_far_away() -> None:
    points = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(0)).double()
    rotation = rotation_from_axis_angle(number(0.2, -0.5, 0.1))
    flat = ScaledOrthographicCamera(rotation, number(8.0), number(5.0, 6.0)).project(points)
    far = PerspectiveCamera(rotation, number(0, 0, -1e6), number(8e6), number(5.0, 6.0))
    torch.testing.assert_close(far.project(points)[..., :2], flat[..., :2], atol=1e-3, rtol=0)


def test_points_behind_a_perspective_camera_have_zero_gradients() -> None:
    points = torch.tensor([[[1.0, 2, 5], [1, 1, 0], [0, 0, -3]]], requires_grad=True)
    camera = PerspectiveCamera(
        torch.eye(3), torch.zeros(3), torch.tensor(10.0), torch.tensor([4.0, 4.0])
    )
    camera.project(points)[..., :2].sum().backward()
    assert torch.equal(points.grad[0, :2], torch.zeros(2, 3))
    assert points.grad[0, 2].isfinite().all()


def test_rotation_vectors() -> None:
    quarter = rotation_from_axis_angle(number(0.0, torch.pi / 2, 0))
    torch.testing.assert_close(quarter @ number(0.0, 0, 1), number(1.0, 0, 0))
    axis_angle = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).double()
    rotations = rotation_from_axis_angle(axis_angle)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(6).double())
    torch.testing.assert_close(
        (rotations @ axis_angle.unsqueeze(-1)).squeeze(-1), axis_angle
    )  # the axis stays
    at_zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(rotation_from_axis_angle(at_zero).detach(), torch.eye(3).double())
    assert torch.autograd.gradcheck(rotation_from_axis_angle, at_zero)


@pytest.mark.parametrize("batched", [False, True])
def test_camera_gradients(batched: bool) -> None:
    generator = torch.Generator().manual_seed(2)

    def make(*shape: int) -> Tensor:
        return torch.randn([*((2,) if batched else ()), *shape], generator=generator).double()

    points = torch.randn(2, 5, 3, generator=generator).double().requires_grad_(True)
    turn, shift, scale = make(3), make(2), make().abs() + 1
    move = make(3) - number(0.0, 0, 9)
    inputs = [t.requires_grad_(True) for t in (points, turn, scale, shift)]

    def orthographic(points: Tensor, turn: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return ScaledOrthographicCamera(rotation_from_axis_angle(turn), scale, shift).project(
            points
        )

    def perspective(points: Tensor, turn: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        camera = PerspectiveCamera(rotation_from_axis_angle(turn), move, scale, shift)
        return camera.project(points)

    assert torch.autograd.gradcheck(orthographic, inputs)
    assert torch.autograd.gradcheck(perspective, inputs)
    move.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda move: PerspectiveCamera(torch.eye(3).double(), move, scale, shift).project(points),
        move,
    )


def test_direction_to_the_camera() -> None:
    rotation = rotation_from_axis_angle(number(0.0, 0.3, 0))
    positions = torch.randn(4, 3, generator=torch.Generator().manual_seed(3)).double()
    item = torch.zeros(4, dtype=torch.int64)
    flat = ScaledOrthographicCamera(rotation, number(1.0), number(0.0, 0))
    torch.testing.assert_close(
        flat.towards_camera(positions, item) @ rotation.T, number(0.0, 0, 1).expand(4, 3)
    )
    pinhole = PerspectiveCamera(rotation, number(0.5, 0.1, -6), number(1.0), number(0.0, 0))
    centre = rotation.T @ -number(0.5, 0.1, -6)
    expected = torch.nn.functional.normalize(centre - positions, dim=1)
    torch.testing.assert_close(pinhole.towards_camera(positions, item), expected)
