"""One photo to one optimised mesh: locate, segment, start, optimise, carry back to the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from face3d_cli.arrays import Mask, Points2, Points3, RgbImage, Triangles
from face3d_cli.core.camera import PoseDegrees, ScaledOrthographicCamera
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.mesh import METRES_PER_UNIT, Mesh
from face3d_cli.core.slit import close_slit
from face3d_cli.pipeline.locate import locate_faces, read_input
from face3d_cli.pipeline.result import FaceReconstruction, Reconstruction, SavedMesh, StageTimings
from face3d_cli.settings import MeshNetSettings, ReconstructSettings, TextureSettings

if TYPE_CHECKING:
    from face3d_cli.stages.mesh_start import MeshStart, Square
    from face3d_cli.stages.meshnet import FitResult, MeshTarget, Progress


_START_TEXTURE = TextureSettings(size_px=512)  # the start's vertex colours are read off it


@dataclass(frozen=True)
class FittedFace:
    """A face that some method has laid over the photo, in head-frame millimetres.

    Attributes:
        vertices_mm: (V, 3) with the photo's expression.
        triangles: (F, 3).
        uv: (V, 2).
        landmarks_mm: (68, 3).
        camera: projects the vertices into the photo.
        is_face: (V,) false where the mesh goes on to the neck.
    """

    vertices_mm: Points3
    triangles: Triangles
    uv: Points2
    landmarks_mm: Points3
    camera: ScaledOrthographicCamera
    is_face: Mask


@dataclass(frozen=True)
class MeshNetResult:
    """An optimised face, what it was compared with, and how it went.

    Attributes:
        reconstruction: as every method gives it, with one face.
        fit: losses, likeness, why it stopped.
        target: the square of the photo.
        start: the template in the view frame, and the way back.
        perception: the model behind the perceptual loss.
    """

    reconstruction: Reconstruction
    fit: FitResult
    target: MeshTarget
    start: MeshStart
    perception: str | None

    def to_json(self, saved: Sequence[SavedMesh] = ()) -> dict[str, Any]:
        """The report of every method, with likeness, steps and the reason of the end."""
        report = self.reconstruction.to_json(saved)
        report["faces"][0].update(
            psnr_db=round(self.fit.psnr_db, 3),
            ssim=round(self.fit.ssim, 4),
            steps=len(self.fit.losses),
            stop_reason=self.fit.stop_reason,
            perceptual_model=self.perception,
        )
        return report


def optimise_photo(
    photo: str | Path | RgbImage,
    settings: MeshNetSettings = MeshNetSettings(),
    base: ReconstructSettings = ReconstructSettings(),
    *,
    box: FaceBox | None = None,
    landmarks_px: Points2 | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> MeshNetResult:
    """Optimise a mesh to the largest face of a photo.

    Args:
        photo: a file, "-" for standard input, or an (H, W, 3) sRGB image.
        settings: start, losses, steps.
        base: how the photo is read and the face is found; `pose` of the result.
        box: the face to take, instead of detecting.
        landmarks_px: (68, 2) the landmarks to take.
        checkpoint: file to continue from, written every few steps.
        progress: told after every step.

    Raises:
        UnreadableInput, NoFaceFound, ModelError: as in `reconstruct`.
    """
    from face3d_cli.stages.mesh_start import face_outline, look_at, square_around
    from face3d_cli.stages.meshnet import optimise_mesh
    from face3d_cli.stages.segmentation import segment_photo

    timings = StageTimings()
    name, image = read_input(photo, base, timings)
    face_box, points = locate_faces(image, name, base, timings, box=box, landmarks_px=landmarks_px)[
        0
    ]
    with timings.measure("fit"):
        fit = _fit(image, face_box, points, settings, base)
    with timings.measure("segment"):
        labels = segment_photo(image, faces=[face_box]).labels
    with timings.measure("start"):
        outline = face_outline(points)
        if fit is not None:
            face_mm = fit.vertices_mm[fit.is_face]
            outline = np.concatenate([points, fit.camera.project(face_mm)])
        square = square_around(outline, settings.crop_margin)
        target = look_at(image, labels, outline, square, settings.size_px)
        start = _start(image, points, target, square, fit, settings, base)
    perception, features = None, None
    if settings.weights.perceptual:
        from face3d_cli.networks.perception import load_perception

        perception, features = load_perception()
    with timings.measure("optimise"):
        found = optimise_mesh(
            target,
            start.template,
            start.colors,
            settings,
            features=features,
            checkpoint=checkpoint,
            progress=progress,
        )
    with timings.measure("texture"):
        face = _face(image, face_box, points, start, square, fit, found, base)
    method = f"meshnet-{settings.init}"
    reconstruction = Reconstruction(name, image, method, (face,), timings)
    return MeshNetResult(reconstruction, found, target, start, perception)


def _fit(
    image: RgbImage,
    box: FaceBox,
    points: Points2,
    settings: MeshNetSettings,
    base: ReconstructSettings,
) -> FittedFace | None:
    """The face to start from; None for the dome."""
    if settings.init == "hemisphere":
        return None
    if settings.init == "prnet":
        from face3d_cli.core.position_map import NECK_BELOW_V
        from face3d_cli.stages.map_mesh import mesh_of_map
        from face3d_cli.stages.position_map import predict_position_maps

        found = predict_position_maps(image, [box], base.position_map)[0]
        mesh = mesh_of_map(found, settings.prnet_mesh_px)
        is_face = mesh.uv[:, 1] > NECK_BELOW_V
        return FittedFace(
            mesh.vertices_mm, mesh.triangles, mesh.uv, mesh.landmarks_mm, mesh.camera, is_face
        )
    from face3d_cli.stages.morphable import fit_surrey

    fit = fit_surrey(points, image.shape[:2], base.morphable)
    closed = close_slit(fit.posed_vertices_mm, fit.triangles, fit.uv)  # teeth need a surface
    everywhere = np.ones(len(closed.vertices), bool)
    return FittedFace(
        closed.vertices, closed.triangles, closed.uv, fit.landmarks_mm, fit.camera, everywhere
    )


def _start(
    image: RgbImage,
    points: Points2,
    target: MeshTarget,
    square: Square,
    fit: FittedFace | None,
    settings: MeshNetSettings,
    base: ReconstructSettings,
) -> MeshStart:
    from face3d_cli.stages.mesh_start import start_from_dome, start_from_fit

    if fit is None:
        return start_from_dome(target, points, square, sphere=settings.parameters == "babymeshnet")
    from face3d_cli.stages.texture import bake_texture

    camera, triangles = fit.camera, fit.triangles
    baked = bake_texture(image, fit.vertices_mm, triangles, fit.uv, camera, _START_TEXTURE)
    return start_from_fit(fit.vertices_mm, triangles, fit.uv, baked.image, camera, square)


def _face(
    image: RgbImage,
    box: FaceBox,
    points: Points2,
    start: MeshStart,
    square: Square,
    fit: FittedFace | None,
    found: FitResult,
    base: ReconstructSettings,
) -> FaceReconstruction:
    vertices_mm = start.to_head_mm(found.vertices)
    camera = start.camera(square)
    landmarks = _landmark_vertices(vertices_mm, camera.project(vertices_mm), points, fit, start)
    texture, visible_share = None, None
    if fit is not None and base.texture is not None:
        from face3d_cli.stages.texture import bake_texture

        baked = bake_texture(image, vertices_mm, fit.triangles, fit.uv, camera, base.texture)
        texture, visible_share = baked.image, baked.visible_share
    turned = camera.turn(vertices_mm) if base.pose == "image" else vertices_mm
    error = np.linalg.norm(camera.project(vertices_mm[landmarks]) - points, axis=1).mean()
    return FaceReconstruction(
        box=box,
        landmarks_px=points,
        landmarks_3d_m=turned[landmarks] * METRES_PER_UNIT["mm"],
        pose=PoseDegrees.from_rotation(camera.rotation),
        camera=replace(
            camera,
            scale_px_per_unit=camera.scale_px_per_unit / METRES_PER_UNIT["mm"],
            rotation=np.eye(3) if base.pose == "image" else camera.rotation,
        ),
        mesh=Mesh(
            vertices=turned,
            triangles=start.template.triangles,
            uv=start.template.uv,
            texture=texture,
            vertex_colors=np.round(np.clip(found.colors, 0, 1) * 255).astype(np.uint8),
            unit="mm",
        ).in_unit("m"),
        fit_error_px=float(error),
        coefficients={},
        visible_share=visible_share,
    )


def _landmark_vertices(
    vertices_mm: Points3,
    vertices_px: Points2,
    points: Points2,
    fit: FittedFace | None,
    start: MeshStart,
) -> np.ndarray:
    """(68,) the vertex of each landmark: the model's own, or the frontmost near its pixel."""
    if fit is not None:
        origin = start.to_head_mm(start.template.vertices)
        away = np.linalg.norm(origin[None] - fit.landmarks_mm[:, None], axis=2)
        return np.asarray(away.argmin(axis=1))
    depth = vertices_mm @ start.rotation.T[:, 2]
    span = np.ptp(vertices_px, axis=0).max()
    away = np.linalg.norm(vertices_px[None] - points[:, None], axis=2) / span
    return np.asarray((away - 0.05 * depth / np.ptp(depth)).argmin(axis=1))
