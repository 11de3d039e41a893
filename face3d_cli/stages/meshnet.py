"""Which mesh and colours look like the photo? Optimisation through the differentiable renderer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from face3d_cli.arrays import FloatArray, Points3, check_shape
from face3d_cli.core.mesh import Mesh
from face3d_cli.diff.backends import rasterizer_named
from face3d_cli.diff.cameras import ScaledOrthographicCamera
from face3d_cli.diff.edges import edge_topology
from face3d_cli.diff.losses import chamfer, image, perceptual, smoothness
from face3d_cli.diff.render import Picture, render
from face3d_cli.networks.perception import Features
from face3d_cli.settings import MeshNetSettings
from face3d_cli.stages.mesh_parameters import MeshParameterisation, parameterise

StopReason = Literal["steps", "converged", "diverged"]
Progress = Callable[[int, dict[str, float], Points3], None]  # step, losses, (V, 3) vertices


@dataclass(frozen=True)
class MeshTarget:
    """What the mesh shall look like: the square around the face.

    Attributes:
        photo: (S, S, 3) in [0, 1].
        mask: (S, S) in [0, 1], 1 on the face.
        label_colors: (S, S, 3) in [0, 1], the segmentation as a picture; MeshNet sees it.
    """

    photo: FloatArray
    mask: FloatArray
    label_colors: FloatArray


@dataclass(frozen=True)
class FitResult:
    """An optimised mesh and how it came about.

    Attributes:
        vertices: (V, 3) in the frame of the template; of the best step.
        colors: (V, 3) in [0, 1].
        rendered: (S, S, 3) the last picture, in [0, 1].
        psnr_db: inside the mask.
        ssim: inside the mask.
        losses: one record a step: weighted losses by name, and "total".
        stop_reason: why it ended; "diverged" keeps the best mesh before.
    """

    vertices: Points3
    colors: FloatArray
    rendered: FloatArray
    psnr_db: float
    ssim: float
    losses: list[dict[str, float]]
    stop_reason: StopReason


def optimise_mesh(
    target: MeshTarget,
    template: Mesh,
    start_colors: FloatArray,
    settings: MeshNetSettings = MeshNetSettings(),
    *,
    features: Features | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Deform and colour a template until its picture matches the photo.

    Args:
        target: the photo's square and the face in it.
        template: its vertices are in the view frame: x right and y up in [-1, 1] over the square,
            z towards the viewer.
        start_colors: (V, 3) in [0, 1].
        settings: losses, steps, optimiser.
        features: of the perceptual loss; None leaves it out.
        progress: told after every step.

    Raises:
        ShapeError: photo, mask or colours do not fit.
    """
    size = settings.size_px
    check_shape(target.photo, (size, size, 3), "photo")
    check_shape(target.mask, (size, size), "mask")
    check_shape(start_colors, (len(template.vertices), 3), "start_colors")
    torch.manual_seed(settings.seed)
    scene = _Scene(target, template, settings, features)
    parameters = parameterise(template, start_colors, scene.inputs, settings)
    optimizer = _optimizer(parameters, settings)
    losses: list[dict[str, float]] = []
    best = math.inf
    best_step, best_size = 0, 0
    kept = parameters.state()
    stop_reason: StopReason = "steps"
    for step in range(settings.steps):
        step_px = _size_at(step, settings)
        optimizer.zero_grad(set_to_none=True)
        vertices, colors = parameters.mesh()
        terms = scene.losses(vertices, colors, step_px)
        total = torch.stack(list(terms.values())).sum()
        record = {name: float(value.detach()) for name, value in terms.items()}
        record["total"] = float(total.detach())
        if not math.isfinite(record["total"]) or record["total"] > 1e3 * max(1.0, best):
            stop_reason = "diverged"
            break
        losses.append(record)
        if step_px != best_size or record["total"] < best * 0.9995:
            best, best_step, best_size = record["total"], step, step_px
            kept = parameters.state()
        if step - best_step >= settings.patience and step_px == size:
            stop_reason = "converged"
            break
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if progress is not None:
            progress(step, record, vertices.detach()[0].numpy())
    parameters.restore(kept)
    with torch.no_grad():
        vertices, colors = parameters.mesh()
        picture = scene.picture(vertices, colors, size)
        photo, mask = scene.photo[size], scene.mask[size]
        psnr = image.masked_psnr_db(picture.color, photo, mask)
        ssim = image.mean_masked_ssim(
            picture.color * mask.unsqueeze(-1), photo * mask.unsqueeze(-1), mask
        )
    return FitResult(
        vertices=vertices[0].double().numpy(),
        colors=colors[0].double().numpy(),
        rendered=picture.color[0].numpy(),
        psnr_db=float(psnr),
        ssim=float(ssim),
        losses=losses,
        stop_reason=stop_reason,
    )


def _size_at(step: int, settings: MeshNetSettings) -> int:
    """Coarse first: half the size for the first share of the steps."""
    is_coarse = step < settings.coarse_share * settings.steps
    return settings.size_px // 2 if is_coarse else settings.size_px


def _optimizer(
    parameters: MeshParameterisation, settings: MeshNetSettings
) -> torch.optim.Optimizer:
    groups = parameters.groups(settings)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, betas=(0.9, 0.95))
    return torch.optim.SGD(groups, momentum=0.9)


class _Scene:
    """The photo at every size, the template's regularisers, and the losses against both."""

    def __init__(
        self,
        target: MeshTarget,
        template: Mesh,
        settings: MeshNetSettings,
        features: Features | None,
    ) -> None:
        self.settings, self.features = settings, features
        self.triangles = torch.from_numpy(template.triangles.astype(np.int64))
        self.topology = edge_topology(self.triangles)
        self.template = torch.from_numpy(template.vertices).float()[None]
        self.laplacian = smoothness.uniform_laplacian(
            self.topology, len(template.vertices), self.template
        )
        self.rasterizer = rasterizer_named(settings.renderer)
        picture = torch.from_numpy(np.asarray(target.photo, np.float32)).permute(2, 0, 1)[None]
        mask = torch.from_numpy(np.asarray(target.mask, np.float32))[None, None]
        colors = torch.from_numpy(np.asarray(target.label_colors, np.float32)).permute(2, 0, 1)
        self.inputs = torch.cat([picture, colors[None]], dim=1)  # (1, 6, S, S), what MeshNet sees
        self.photo: dict[int, Tensor] = {}
        self.mask: dict[int, Tensor] = {}
        self.wanted: dict[int, list[Tensor]] = {}
        for size in {settings.size_px, settings.size_px // 2}:
            small = resize(picture, size=(size, size), mode="area").permute(0, 2, 3, 1)
            small_mask = resize(mask, size=(size, size), mode="area")[:, 0]
            self.photo[size], self.mask[size] = small, small_mask
            if features is not None:
                with torch.no_grad():
                    masked = small * small_mask.unsqueeze(-1)
                    self.wanted[size] = features(masked.permute(0, 3, 1, 2))

    def picture(self, vertices: Tensor, colors: Tensor, size: int) -> Picture:
        """Render the mesh over black; the camera looks straight at the square."""
        half = vertices.new_tensor(size / 2)
        shift = vertices.new_full((2,), (size - 1) / 2)
        camera = ScaledOrthographicCamera(torch.eye(3), half, shift)
        return render(
            vertices,
            self.triangles,
            colors,
            camera,
            size,
            size,
            topology=self.topology,
            rasterizer=self.rasterizer,
        )

    def losses(self, vertices: Tensor, colors: Tensor, size: int) -> dict[str, Tensor]:
        """Weighted losses by name; those of weight zero are not computed."""
        weights = self.settings.weights
        picture = self.picture(vertices, colors, size)
        photo, mask = self.photo[size], self.mask[size]
        masked = picture.color * mask.unsqueeze(-1)
        found: dict[str, Tensor] = {}
        if weights.mse:
            error = image.mean_masked_squared_error(picture.color, photo, mask)
            found["mse"] = weights.mse * error
        if weights.perceptual and self.features is not None:
            seen = self.features(masked.permute(0, 3, 1, 2))
            distance = perceptual.feature_distances(seen, self.wanted[size]).mean()
            found["perceptual"] = weights.perceptual * distance
        if weights.silhouette:
            found["silhouette"] = (
                weights.silhouette * image.silhouette_errors(picture.coverage, mask).mean()
            )
        if weights.chamfer:
            found["chamfer"] = weights.chamfer * chamfer.mean_chamfer(vertices, self.template)
        if weights.edge:
            edges = smoothness.edge_length_errors(vertices, self.topology).mean()
            found["edge"] = weights.edge * edges
        if weights.normal:
            normals = smoothness.normal_inconsistency(vertices, self.topology).mean()
            found["normal"] = weights.normal * normals
        if weights.laplacian:
            lengths = smoothness.laplacian_lengths(vertices, self.laplacian).mean()
            found["laplacian"] = weights.laplacian * lengths
        return found
