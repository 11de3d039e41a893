"""What does the optimiser turn? Vertices and colours themselves, or a network that gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu
from torch import Tensor
from torch.nn.functional import interpolate as resize

from face3d_cli.arrays import FloatArray
from face3d_cli.core.mesh import Mesh
from face3d_cli.diff.edges import edge_topology
from face3d_cli.errors import UsageError
from face3d_cli.networks.meshnet import (
    HEMISPHERE_VERTICES,
    ICOSPHERE_VERTICES,
    BabyMeshNet,
    MeshNet,
)
from face3d_cli.settings import MeshNetSettings

_EPS = 0.02  # colours start this far from 0 and 1, where the logit is finite


class MeshParameterisation(Protocol):
    """Gives the mesh of the current parameters, and can be wound back."""

    def mesh(self) -> tuple[Tensor, Tensor]:
        """(1, V, 3) vertices and (1, V, 3) colours in [0, 1]."""

    def groups(self, settings: MeshNetSettings) -> list[dict[str, Any]]:
        """Parameter groups with their learning rates."""

    def state(self) -> Any:
        """A copy of the parameters."""

    def restore(self, state: Any) -> None:
        """Wind back to a copy."""


def parameterise(
    template: Mesh, start_colors: FloatArray, inputs: Tensor, settings: MeshNetSettings
) -> MeshParameterisation:
    """Choose what is optimised.

    Args:
        template: where the vertices start.
        start_colors: (V, 3) in [0, 1].
        inputs: (1, 6, S, S) photo and segmentation, for the networks.
        settings: `parameters` names the choice.

    Raises:
        UsageError: a network does not fit the template.
    """
    if settings.parameters == "vertices":
        return FreeVertices(template, start_colors, settings)
    return NetworkVertices(template, start_colors, inputs, settings.parameters)


class FreeVertices:
    """Every vertex and every colour is free, but their steps are diffused.

    The optimiser turns u with v = (I + s L)^-1 u, so that a gradient on one vertex moves its
    neighbourhood with it and triangles do not fold. Colours (their logits) are diffused by little:
    vertices at the outline, of which hardly a pixel shows, keep their neighbours' colour.

    Source: Nicolet, Jacobson & Jakob, Large Steps in Inverse Rendering of Geometry, SIGGRAPH Asia
    2021, section 3.
    """

    def __init__(self, template: Mesh, start_colors: FloatArray, settings: MeshNetSettings) -> None:
        vertices = torch.from_numpy(template.vertices).float()
        self._solve = diffusion(template, settings.smoothing)
        self._solve_color = diffusion(template, settings.color_smoothing)
        self._start = vertices
        self.moves = torch.zeros_like(vertices).requires_grad_(True)
        inside = torch.from_numpy(np.clip(start_colors, _EPS, 1 - _EPS)).float()
        self._start_logits = torch.logit(inside)
        self.tints = torch.zeros_like(inside).requires_grad_(True)

    def mesh(self) -> tuple[Tensor, Tensor]:
        """(1, V, 3) vertices and (1, V, 3) colours."""
        moves: Tensor = _Diffuse.apply(self.moves, self._solve)  # type: ignore[no-untyped-call]
        tints: Tensor = _Diffuse.apply(self.tints, self._solve_color)  # type: ignore[no-untyped-call]
        colors = torch.sigmoid(self._start_logits + tints)
        return (self._start + moves)[None], colors[None]

    def groups(self, settings: MeshNetSettings) -> list[dict[str, Any]]:
        """Moves and colours, each with its learning rate."""
        scale = (1.0 + settings.smoothing) ** 0.5  # diffusion shortens most steps
        color_scale = (1.0 + settings.color_smoothing) ** 0.5
        return [
            {"params": [self.moves], "lr": settings.learning_rate * scale},
            {"params": [self.tints], "lr": settings.color_learning_rate * color_scale},
        ]

    def state(self) -> tuple[Tensor, Tensor]:
        """Copies of moves and tints."""
        return self.moves.detach().clone(), self.tints.detach().clone()

    def restore(self, state: tuple[Tensor, Tensor]) -> None:
        """Wind back."""
        with torch.no_grad():
            self.moves.copy_(state[0])
            self.tints.copy_(state[1])


Solve = Callable[[np.ndarray], np.ndarray]


def diffusion(template: Mesh, smoothing: float) -> Solve:
    """Solves (I + s L) x = b for (V, 3) b, with the combinatorial Laplacian L; factored once."""
    edges = edge_topology(torch.from_numpy(template.triangles.astype(np.int64))).vertices.numpy()
    rows, columns = edges.ravel(), edges[:, ::-1].ravel()
    shape = (len(template.vertices),) * 2
    adjacency = csc_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    system = diags_array(1.0 + smoothing * degrees) - smoothing * adjacency
    solve: Solve = splu(system.tocsc()).solve
    return solve


class _Diffuse(torch.autograd.Function):
    """A symmetric linear solve: its gradient is the same solve."""

    @staticmethod
    def forward(ctx: Any, moves: Tensor, solve: Solve) -> Tensor:
        ctx.solve = solve
        return torch.from_numpy(solve(moves.double().numpy())).to(moves)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(ctx.solve(grad.double().numpy())).to(grad), None


class NetworkVertices:
    """MeshNet or BabyMeshNet gives the offsets; heads start at zero, hence at the template."""

    def __init__(self, template: Mesh, start_colors: FloatArray, inputs: Tensor, name: str) -> None:
        self._start = torch.from_numpy(template.vertices).float()
        inside = torch.from_numpy(np.clip(start_colors, _EPS, 1 - _EPS)).float()
        logits = torch.logit(inside)
        self.network: BabyMeshNet | MeshNet
        if name == "meshnet":
            self.network, needed = MeshNet(), HEMISPHERE_VERTICES
        else:
            self.network, needed = BabyMeshNet(), ICOSPHERE_VERTICES
        if len(self._start) != needed:
            raise UsageError(
                f"{name} gives {needed} vertices, the template has {len(self._start)}",
                hint="use --init hemisphere with it, or --parameters vertices",
            )
        px = self.network.input_px
        self._inputs = resize(inputs[:, : self.network.input_channels], size=(px, px), mode="area")
        self.logits: Tensor | None = None
        with torch.no_grad():
            self.network.offsets.weight.mul_(0.01)
            self.network.offsets.bias.zero_()
            if isinstance(self.network, MeshNet):
                self.network.colors.weight.mul_(0.01)
                self.network.colors.bias.copy_(logits.flatten())
            else:
                self.logits = logits.requires_grad_(True)

    def mesh(self) -> tuple[Tensor, Tensor]:
        """(1, V, 3) vertices and (1, V, 3) colours."""
        if isinstance(self.network, MeshNet):
            offsets, colors = self.network(self._inputs)
            return self._start + offsets, colors
        assert self.logits is not None
        return self._start + self.network(self._inputs), torch.sigmoid(self.logits)[None]

    def groups(self, settings: MeshNetSettings) -> list[dict[str, Any]]:
        """The network, and BabyMeshNet's colours, which it does not give."""
        groups: list[dict[str, Any]] = [
            {"params": list(self.network.parameters()), "lr": settings.learning_rate / 20}
        ]
        if self.logits is not None:
            groups.append({"params": [self.logits], "lr": settings.color_learning_rate})
        return groups

    def state(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """Copies of all weights."""
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        return weights, None if self.logits is None else self.logits.detach().clone()

    def restore(self, state: tuple[dict[str, Tensor], Tensor | None]) -> None:
        """Wind back."""
        self.network.load_state_dict(state[0])
        if self.logits is not None and state[1] is not None:
            with torch.no_grad():
                self.logits.copy_(state[1])
