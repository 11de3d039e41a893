"""Which mesh and colours look like the photo? Optimisation through the differentiable renderer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from face3d_cli.arrays import FloatArray, Points3, check_shape
from face3d_cli.core.mesh import Mesh
from face3d_cli.core.mesh_quality import unfold
from face3d_cli.diff.backends import rasterizer_named
from face3d_cli.diff.cameras import ScaledOrthographicCamera
from face3d_cli.diff.edges import edge_topology
from face3d_cli.diff.losses import chamfer, image, perceptual, smoothness
from face3d_cli.diff.render import Picture, render
from face3d_cli.diff.threads import limited_threads
from face3d_cli.errors import UnreadableInput, UsageError
from face3d_cli.io.atomic import atomic_path
from face3d_cli.networks.perception import Features
from face3d_cli.settings import MeshNetSettings
from face3d_cli.stages.mesh_parameters import FreeVertices, MeshParameterisation, parameterise
from face3d_cli.stages.outline import widen_to_mask

DIVERGED = 1e3  # times the best loss
IMPROVED = 0.9995  # of the best loss counts as better
MOVED = 1e-6  # half squares: more than rounding
ONE_THREAD_UP_TO_PX = 128  # smaller work than this is slower when it is shared

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
        vertices: (V, 3) in the frame of the template; of the best step, without folds.
        colors: (V, 3) in [0, 1].
        rendered: (S, S, 3) its picture, over black.
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
    checkpoint: Path | None = None,
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
        checkpoint: continued from when the file exists; written every few steps.
        progress: told after every step.

    Raises:
        ShapeError: photo, mask or colours do not fit.
        UsageError, UnreadableInput: the checkpoint belongs to another run, or is damaged.
    """
    size = settings.size_px
    check_shape(target.photo, (size, size, 3), "photo")
    check_shape(target.mask, (size, size), "mask")
    check_shape(start_colors, (len(template.vertices), 3), "start_colors")
    is_small = size <= ONE_THREAD_UP_TO_PX and settings.parameters == "vertices"
    with limited_threads(1 if is_small else torch.get_num_threads()):
        return _optimise(target, template, start_colors, settings, features, checkpoint, progress)


def _optimise(
    target: MeshTarget,
    template: Mesh,
    start_colors: FloatArray,
    settings: MeshNetSettings,
    features: Features | None,
    checkpoint: Path | None,
    progress: Progress | None,
) -> FitResult:
    size = settings.size_px
    given, template = template, _laid_over_mask(target, template, settings)
    scene = _Scene(target, template, settings, features)
    with torch.random.fork_rng():  # networks are drawn with the seed; the caller's chance is kept
        torch.manual_seed(settings.seed)
        parameters = parameterise(template, start_colors, scene.inputs, settings)
    run = _Run(parameters, _optimizer(parameters, settings))
    if checkpoint is not None:
        run.resume(checkpoint, _run_key(template, settings))
    stop_reason: StopReason = "steps"
    while len(run.losses) < settings.steps:
        step = len(run.losses)
        size_px = _size_at(step, settings)
        run.optimizer.zero_grad(set_to_none=True)
        vertices, colors = parameters.mesh()
        terms = scene.losses(vertices, colors, size_px)
        total = torch.stack(list(terms.values())).sum()
        record = {name: float(value.detach()) for name, value in terms.items()}
        record["total"] = float(total.detach())
        if not math.isfinite(record["total"]) or record["total"] > DIVERGED * max(1.0, run.best):
            stop_reason = "diverged"
            break
        run.note(record, size_px)
        if step - run.best_step >= settings.patience and size_px == size:
            stop_reason = "converged"
            break
        total.backward()  # type: ignore[no-untyped-call]
        run.optimizer.step()
        if checkpoint is not None and len(run.losses) % settings.checkpoint_every == 0:
            run.save(checkpoint, _run_key(template, settings))
        if progress is not None:
            progress(step, record, vertices.detach()[0].numpy())
    parameters.restore(run.kept)
    with torch.no_grad():
        vertices, colors = parameters.mesh()
        found = vertices[0].double().numpy()
        widened = unfold(template.vertices, given.vertices, given.triangles)
        sound = unfold(found, widened, given.triangles)
    # A network's colours are its own; free ones still hold fringes that only the features like.
    if settings.parameters == "vertices" or np.abs(sound - found).max() > MOVED:
        unfolded = replace(template, vertices=sound)
        colors = _recolored(scene, unfolded, colors[0].detach().numpy(), settings)
    with torch.no_grad():
        vertices = torch.from_numpy(sound).float()[None]
        color = scene.picture(vertices, colors, size).color
        photo, seen = scene.photo[size], scene.mask[size]
        psnr = image.masked_psnr_db(color, photo, seen)
        in_mask = seen.unsqueeze(-1)
        ssim = image.mean_masked_ssim(color * in_mask, photo * in_mask, seen)
    return FitResult(
        vertices=sound,
        colors=colors[0].double().numpy(),
        rendered=color[0].numpy(),
        psnr_db=float(psnr),
        ssim=float(ssim),
        losses=run.losses,
        stop_reason=stop_reason,
    )


def _recolored(scene: _Scene, mesh: Mesh, colors: FloatArray, settings: MeshNetSettings) -> Tensor:
    """(1, V, 3) the colours fitted by pixels alone to a mesh that stands still."""
    free = FreeVertices(mesh, colors, settings)
    _, of_tints = free.groups(settings)
    optimizer = torch.optim.Adam([of_tints])
    for _ in range(settings.recolor_steps):
        optimizer.zero_grad(set_to_none=True)
        vertices, found = free.mesh()
        picture = scene.picture(vertices.detach(), found, settings.size_px)
        photo, seen = scene.photo[settings.size_px], scene.mask[settings.size_px]
        error = image.mean_masked_squared_error(picture.color, photo, seen)
        if not error.requires_grad:  # nothing of the mesh is in the picture
            break
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return free.mesh()[1].detach()


class _Run:
    """Where an optimisation stands: it can be written to a file and taken up again."""

    def __init__(self, parameters: MeshParameterisation, optimizer: torch.optim.Optimizer) -> None:
        self.parameters, self.optimizer = parameters, optimizer
        self.losses: list[dict[str, float]] = []
        self.best, self.best_step, self.best_size_px = math.inf, 0, 0
        self.kept = parameters.state()

    def note(self, record: dict[str, float], size_px: int) -> None:
        """Keep the losses of a step, and its mesh when it is the best at this size."""
        self.losses.append(record)
        if size_px != self.best_size_px or record["total"] < self.best * IMPROVED:
            self.best, self.best_step = record["total"], len(self.losses) - 1
            self.best_size_px = size_px
            self.kept = self.parameters.state()

    def save(self, path: Path, key: str) -> None:
        """Write everything, whole or not at all."""
        state = {
            "key": key,
            "parameters": self.parameters.state(),
            "kept": self.kept,
            "optimizer": self.optimizer.state_dict(),
            "losses": self.losses,
            "best": (self.best, self.best_step, self.best_size_px),
        }
        with atomic_path(path) as unfinished:
            torch.save(state, unfinished)

    def resume(self, path: Path, key: str) -> None:
        """Take up what `save` wrote, if the file is there.

        Raises:
            UnreadableInput: it is damaged.
            UsageError: it belongs to another photo, template or setting.
        """
        if not path.exists():
            return
        try:
            state = torch.load(path, weights_only=True)
            found = state["key"]
        except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, TypeError) as problem:
            raise UnreadableInput(
                f"{path} is not a checkpoint of face3d meshnet ({problem})", hint="delete it"
            ) from problem
        if found != key:
            raise UsageError(
                f"{path} belongs to another photo or other settings",
                hint="name another --checkpoint, or delete it",
            )
        self.parameters.restore(state["parameters"])
        self.kept = state["kept"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.losses = state["losses"]
        self.best, self.best_step, self.best_size_px = state["best"]


def _run_key(template: Mesh, settings: MeshNetSettings) -> str:
    """The same for runs that may continue one another; only the number of steps may differ."""
    content = hashlib.sha256(template.vertices.tobytes() + template.triangles.tobytes())
    content.update(repr(replace(settings, steps=0, checkpoint_every=1)).encode())
    return content.hexdigest()


def _size_at(step: int, settings: MeshNetSettings) -> int:
    """Coarse first: half the size for the first share of the steps."""
    is_coarse = step < settings.coarse_share * settings.steps
    return settings.size_px // 2 if is_coarse else settings.size_px


def _laid_over_mask(target: MeshTarget, template: Mesh, settings: MeshNetSettings) -> Mesh:
    """The template, widened at half the size where the face goes on beyond it."""
    size = settings.size_px // 2
    mask = torch.from_numpy(np.asarray(target.mask, np.float32))[None, None]
    small = resize(mask, size=(size, size), mode="area")[:, 0]
    topology = edge_topology(torch.from_numpy(template.triangles.astype(np.int64)))
    return replace(template, vertices=widen_to_mask(template, small, topology))


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
