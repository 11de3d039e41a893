"""Where are the vertices of a linear face for these coefficients and this pose? In torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from face3d_cli.core.linear_face import LinearFace
from face3d_cli.diff.cameras import rotation_from_axis_angle


class MorphableFace(nn.Module):
    """A linear face as a differentiable function, for Surrey and ICT-FaceKit alike.

    Attributes:
        mean_mm: (V, 3).
        shape_mm: (K, 3 V), expression_mm: (E, 3 V), flat so that a batch is one product.
    """

    mean_mm: Tensor
    shape_mm: Tensor
    expression_mm: Tensor

    def __init__(self, model: LinearFace, *, vertices: Any = slice(None)) -> None:
        """Take a model, or only some of its vertices (any numpy index)."""
        super().__init__()
        for name, array in (
            ("mean_mm", model.mean_mm[vertices]),
            ("shape_mm", model.shape_mm[:, vertices].reshape(len(model.shape_mm), -1)),
            (
                "expression_mm",
                model.expression_mm[:, vertices].reshape(len(model.expression_mm), -1),
            ),
        ):
            tensor = torch.as_tensor(array, dtype=torch.get_default_dtype()).clone()
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, shape: Tensor, expression: Tensor, turn: Tensor | None = None) -> Tensor:
        """(B, V, 3) vertices in millimetres.

        Args:
            shape: (B, K') in standard deviations; fewer than K leaves the rest at 0.
            expression: (B, E) weights.
            turn: (B, 3) rotation vectors in radians about the model's origin; None does not turn.
        """
        moved = shape @ self.shape_mm[: shape.shape[-1]] + expression @ self.expression_mm
        vertices = self.mean_mm + moved.reshape(len(moved), -1, 3)
        if turn is None:
            return vertices
        return vertices @ rotation_from_axis_angle(turn).transpose(-1, -2)
