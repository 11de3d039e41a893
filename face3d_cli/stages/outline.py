"""Does the mesh reach as far as the face in the photo? Its outline is moved out until it does.

The optimisation is held near its template, and where the mesh covers no pixel no colour can be
right. So the template itself is widened first, smoothly, where the mask says that the face goes on.
It is never narrowed: hair or glasses before a face are no reason to cut it off.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from face3d_cli.arrays import Points3
from face3d_cli.core.mesh import Mesh
from face3d_cli.diff.cameras import ScaledOrthographicCamera
from face3d_cli.diff.edges import EdgeTopology
from face3d_cli.diff.render import render
from face3d_cli.stages.mesh_parameters import diffusion

STEPS = 80
STEP_PX = 0.5  # that the outline moves at most in a step
SMOOTHING = 30.0  # of a step, as in `MeshNetSettings`
COVERED = 0.998  # of the mask is enough


def widen_to_mask(template: Mesh, mask: Tensor, topology: EdgeTopology) -> Points3:
    """Move the outline of a mesh over what it does not cover of the face.

    Gradient descent on the share of the mask that is uncovered, in the plane of the picture; every
    step is diffused over the mesh, as in `FreeVertices`.

    Args:
        template: vertices in the view frame of `optimise_mesh`.
        mask: (1, S, S) in [0, 1], 1 on the face.
        topology: of the template.

    Returns:
        (V, 3) vertices with the template's depths; triangles may have folded.
    """
    size = mask.shape[-1]
    solve = diffusion(template, SMOOTHING)
    triangles = torch.from_numpy(template.triangles.astype(np.int64))
    camera = ScaledOrthographicCamera(
        torch.eye(3), torch.tensor(size / 2.0), torch.full((2,), (size - 1) / 2)
    )
    colors = torch.zeros(1, len(template.vertices), 1)
    total = mask.sum().clamp(min=1e-6)
    vertices = torch.from_numpy(template.vertices).float()
    longest = STEP_PX * 2 / size
    for _ in range(STEPS):
        here = vertices[None].clone().requires_grad_(True)
        picture = render(here, triangles, colors, camera, size, size, topology=topology)
        uncovered = (mask * (1.0 - picture.coverage)).sum() / total
        if uncovered < 1.0 - COVERED:
            break
        uncovered.backward()  # type: ignore[no-untyped-call]
        assert here.grad is not None
        wanted = -here.grad[0].double().numpy() * (1.0, 1.0, 0.0)
        smooth = solve(solve(wanted))
        length = np.linalg.norm(smooth, axis=1).max()
        if length == 0:  # the mesh and the mask do not touch
            break
        vertices = vertices + torch.from_numpy(longest / length * smooth).float()
    found: Points3 = vertices.double().numpy()
    return found
