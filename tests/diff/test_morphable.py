"""The differentiable face: what numpy says, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from face3d_cli.diff.morphable import MorphableFace
from tests.helpers.linear_faces import NUM_EXPRESSIONS, NUM_SHAPES, small_face


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_vertices_are_those_of_numpy():
    model, rng = small_face(), np.random.default_rng(1)
    shape, expression = rng.normal(size=(2, NUM_SHAPES)), rng.random((2, NUM_EXPRESSIONS))
    turn = rng.normal(size=(2, 3))
    found = MorphableFace(model)(*(torch.from_numpy(each) for each in (shape, expression, turn)))
    for index in range(2):
        still = model.vertices_mm(shape[index], expression[index])
        expected = Rotation.from_rotvec(turn[index]).apply(still)
        np.testing.assert_allclose(found[index].numpy(), expected, atol=1e-9)


def test_fewer_coefficients_and_some_vertices():
    model = small_face()
    few = MorphableFace(model, vertices=model.landmark_vertices)
    shape = np.array([0.5, -1.0])
    found = few(torch.from_numpy(shape)[None], torch.zeros(1, NUM_EXPRESSIONS))
    expected = model.vertices_mm(shape, np.zeros(NUM_EXPRESSIONS))[model.landmark_vertices]
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-9)


def test_gradient_is_that_of_finite_differences():
    part = MorphableFace(small_face(), vertices=np.array([3, 500, 900]))
    inputs = [
        torch.randn(2, n, generator=torch.manual_seed(n)).requires_grad_()
        for n in (NUM_SHAPES, NUM_EXPRESSIONS, 3)
    ]
    assert torch.autograd.gradcheck(part, inputs)


def test_surrey_is_the_same_function(surrey):
    from face3d_cli.stages.morphable import load_surrey

    model, rng = load_surrey(), np.random.default_rng(2)
    shape, expression = rng.normal(size=63), rng.random(6)
    found = MorphableFace(model.linear_mm)(
        torch.from_numpy(shape)[None], torch.from_numpy(expression)[None]
    )
    np.testing.assert_allclose(found[0].numpy(), model.draw_mm(shape, expression), atol=1e-6)


def test_ict_facekit_is_the_same_function(ict):
    from face3d_cli.stages.ict_model import IctModel

    model, rng = IctModel.load(), np.random.default_rng(3)
    shape, expression = rng.normal(size=100), rng.random(53)
    found = MorphableFace(model.linear_mm, vertices=slice(0, 500))(
        torch.from_numpy(shape)[None], torch.from_numpy(expression)[None]
    )
    expected = 10 * model.vertices(shape, expression)[:500]
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-3)
