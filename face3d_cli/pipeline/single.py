"""Which stages turn one photo into meshes, and in which order?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from face3d_cli.arrays import Points2, RgbImage
from face3d_cli.core.camera import PoseDegrees
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.mesh import METRES_PER_UNIT, Mesh
from face3d_cli.errors import MissingExtra, UsageError
from face3d_cli.pipeline.head import reconstruct_head
from face3d_cli.pipeline.locate import locate_faces, read_input
from face3d_cli.pipeline.position_map import find_maps, map_faces, map_found
from face3d_cli.pipeline.result import (
    FaceReconstruction,
    Reconstruction,
    Relighting,
    StageTimings,
    numbered,
)
from face3d_cli.settings import FacesChoice, ReconstructSettings, TextureSettings
from face3d_cli.weights.store import find_model, model_state

if TYPE_CHECKING:
    from face3d_cli.stages.morphable import MorphableFit
    from face3d_cli.stages.occlusion import FaceOcclusion
    from face3d_cli.stages.texture import BakedTexture


def reconstruct(
    photo: str | Path | RgbImage,
    settings: ReconstructSettings = ReconstructSettings(),
    *,
    faces: FacesChoice | int = "largest",
    box: FaceBox | None = None,
    landmarks_px: Points2 | None = None,
) -> Reconstruction:
    """Turn the faces of one photo into textured meshes.

    Args:
        photo: a file, "-" for standard input, or an (H, W, 3) sRGB image.
        settings: everything that decides the result.
        faces: "largest", "all", or how many of the largest; kept from left to right.
        box: the face to take, instead of detecting.
        landmarks_px: (68, 2) the landmarks to take, instead of detecting and predicting.

    Raises:
        UnreadableInput: the photo cannot be read.
        NoFaceFound: there is no face in it.
        ModelError: a model is missing or damaged.
        StageError: a face cannot be fitted, or too little of it is seen to refine it.
        UsageError: refining was asked of another method than Surrey's.
    """
    method = choose_method(settings.method)
    if settings.refine is not None and method != "surrey":
        raise UsageError(
            f"--refine displaces along the Surrey model's shapes, found method {method}",
            hint="use --method surrey with it",
        )
    if method == "prnet":
        return map_faces(photo, settings, faces=faces, box=box, landmarks_px=landmarks_px).result
    timings = StageTimings()
    name, image = read_input(photo, settings, timings)
    located = locate_faces(
        image, name, settings, timings, faces=faces, box=box, landmarks_px=landmarks_px
    )
    one_face = reconstruct_head if method == "ict" else _reconstruct_face
    results = tuple(
        one_face(image, face_box, points, settings, timings) for face_box, points in located
    )
    found = Reconstruction(name, image, method, results, timings)
    pose_decides = settings.method == "auto" and landmarks_px is None and settings.refine is None
    if pose_decides and method == "surrey" and settings.morphable.use_expressions:
        return _by_map_if_turned(found, settings) or found
    return found


def choose_method(asked: str) -> str:
    """The method that runs: the one asked for, or for "auto" the best whose models are here.

    Raises:
        ModelError: its models are missing.
        UsageError: there is no method of that name.
    """
    if asked not in ("auto", "surrey", "ict", "prnet"):
        raise UsageError(f"there is no method '{asked}'", hint="expected auto, surrey, ict, prnet")
    if asked == "prnet":
        find_model("prnet-resnet18")
        return "prnet"
    if asked == "ict" or (
        asked == "auto"
        and model_state("surrey").state == "missing"
        and model_state("ict-facekit").state == "present"
    ):
        find_model("ict-facekit")
        return "ict"
    find_model("surrey")
    return "surrey"


def _by_map_if_turned(
    fitted: Reconstruction, settings: ReconstructSettings
) -> Reconstruction | None:
    """The same faces through position maps, where the largest is turned too far for landmarks.

    A face that lies on its side or upside down is, too, where the detector did not tell.

    Source of the preference: on real scans, which look ahead, the Surrey model is nearer; from 30
    degrees on AFLW2000-3D the map's landmarks are (both in `docs/benchmarks.md`).
    """
    limits = settings.turned
    largest = max(range(len(fitted.faces)), key=lambda index: fitted.faces[index].box.area)
    face = fitted.faces[largest]
    if limits is None or (
        face.box.detector == "hog" and abs(face.pose.yaw) < limits.doubt_from_yaw_deg
    ):
        return None
    boxes = [each.box for each in fitted.faces]
    maps = find_maps(fitted.image, boxes, settings, fitted.timings)
    seen = maps[largest]
    is_upright = (
        seen.doubt > settings.position_map.doubt_from
        or seen.roll_apart_deg(face.landmarks_px) < limits.map_from_roll_apart_deg
    )
    yaw_deg = PoseDegrees.from_rotation(seen.camera.rotation).yaw
    if abs(yaw_deg) < limits.map_from_yaw_deg and is_upright:
        return None
    return map_found(fitted.photo, fitted.image, maps, settings, fitted.timings).result


def save_contact_sheets(result: Reconstruction, path: Path) -> None:
    """Write a picture for each face: photo, landmarks, overlay, front, two sides.

    Raises:
        OutputError: it cannot be written.
    """
    from face3d_cli.io.image import save_png
    from face3d_cli.stages.contact_sheet import draw_contact_sheet

    for face, sheet_path in zip(result.faces, numbered(path, len(result.faces)), strict=True):
        sheet = draw_contact_sheet(
            result.image, face.box, face.landmarks_px, face.whole(), face.camera
        )
        save_png(sheet_path, sheet)


def _reconstruct_face(
    image: RgbImage,
    box: FaceBox,
    landmarks_px: Points2,
    settings: ReconstructSettings,
    timings: StageTimings,
) -> FaceReconstruction:
    try:
        from face3d_cli.stages.morphable import fit_surrey
    except ModuleNotFoundError as problem:
        raise MissingExtra(
            f"the Surrey method needs eos-py, which is not installed ({problem})",
            hint="eos-py has wheels for Python 3.10 to 3.12",
        ) from problem
    with timings.measure("fit"):
        fit = fit_surrey(landmarks_px, image.shape[:2], settings.morphable)
    occlusion = _occlusion(image, fit, settings, timings)
    look, baked = None, None
    if settings.refine is not None and occlusion is not None:
        fit, look = _refine(image, landmarks_px, fit, occlusion, settings, timings)
    if settings.texture is not None:
        baked = _bake(image, fit, settings.texture, occlusion, timings)
    if look is not None:
        look = _delight(look, fit, baked, settings)
    return FaceReconstruction(
        box=box,
        landmarks_px=landmarks_px,
        landmarks_3d_m=_as_posed(fit.landmarks_mm, fit, settings) * METRES_PER_UNIT["mm"],
        pose=PoseDegrees.from_rotation(fit.camera.rotation),
        camera=replace(
            fit.camera,
            scale_px_per_unit=fit.camera.scale_px_per_unit / METRES_PER_UNIT["mm"],
            rotation=np.eye(3) if settings.pose == "image" else fit.camera.rotation,
        ),
        mesh=Mesh(
            vertices=_as_posed(fit.vertices_mm, fit, settings),
            triangles=fit.triangles,
            uv=fit.uv,
            texture=baked.image if baked else None,
            blendshapes={
                name: _as_posed(delta, fit, settings)
                for name, delta in fit.expression_deltas_mm.items()
            },
            unit="mm",
        ).in_unit("m"),
        fit_error_px=fit.fit_error_px,
        coefficients={
            "shape": [round(value, 6) for value in fit.shape_coefficients.tolist()],
            "expression": {
                name: round(value, 6) for name, value in fit.expression_coefficients.items()
            },
        },
        visible_share=baked.visible_share if baked else None,
        occlusion=occlusion.shares if occlusion else None,
        relighting=look,
    )


def _occlusion(
    image: RgbImage, fit: MorphableFit, settings: ReconstructSettings, timings: StageTimings
) -> FaceOcclusion | None:
    """What hides the face; None when nothing asks for it."""
    texture = settings.texture
    if settings.refine is None and not (texture is not None and texture.mask):
        return None
    from face3d_cli.stages.occlusion import find_occlusion

    with timings.measure("segment"):
        points = fit.camera.project(fit.posed_vertices_mm)
        return find_occlusion(image, points, texture or TextureSettings())


def _refine(
    image: RgbImage,
    landmarks_px: Points2,
    fit: MorphableFit,
    occlusion: FaceOcclusion,
    settings: ReconstructSettings,
    timings: StageTimings,
) -> tuple[MorphableFit, Relighting]:
    """The fit with its vertices displaced by shading, and the light."""
    from face3d_cli.stages.morphable import load_surrey
    from face3d_cli.stages.refine import refine_by_shading

    assert settings.refine is not None
    with timings.measure("refine"):
        count = len(fit.shape_coefficients)
        found = refine_by_shading(
            occlusion.cut(image),
            occlusion.skin,
            fit.posed_vertices_mm,
            fit.triangles,
            load_surrey().shape_basis_mm[..., :count],
            occlusion.camera(fit.camera),
            settings.refine,
        )
    moved = found.displacement_mm
    at = list(fit.landmark_vertices)
    posed = fit.posed_vertices_mm + moved
    error = np.linalg.norm(fit.camera.project(posed[at]) - landmarks_px, axis=1).mean()
    refined = replace(
        fit,
        vertices_mm=fit.vertices_mm + moved,
        posed_vertices_mm=posed,
        landmarks_mm=fit.landmarks_mm + moved[at],
        shape_coefficients=fit.shape_coefficients + found.coefficients,
        fit_error_px=float(error),
    )
    look = Relighting(
        light=found.light,
        vertex_shading=found.vertex_shading,
        moved_mm=float(np.linalg.norm(moved, axis=1).mean()),
        agreement=found.agreement,
        unexplained_before=found.unexplained_before,
        unexplained_after=found.unexplained_after,
    )
    return refined, look


def _delight(
    look: Relighting, fit: MorphableFit, baked: BakedTexture | None, settings: ReconstructSettings
) -> Relighting:
    """Take the light out of the texture, and turn it with the mesh."""
    from face3d_cli.stages.refine import delight_texture, turn_light

    if baked is not None:
        albedo = delight_texture(baked.image, fit.uv, fit.triangles, look.vertex_shading)
        look = replace(look, albedo=albedo)
    if settings.pose == "image":
        look = replace(look, light=turn_light(look.light, fit.camera.rotation))
    return look


def _bake(
    image: RgbImage,
    fit: MorphableFit,
    settings: TextureSettings,
    occlusion: FaceOcclusion | None,
    timings: StageTimings,
) -> BakedTexture:
    """The texture of the face as it is in the photo, even when a neutral one is written."""
    from face3d_cli.stages.texture import bake_texture

    camera, usable = fit.camera, None
    if settings.mask and occlusion is not None:
        usable = occlusion.usable
        image, camera = occlusion.cut(image), occlusion.camera(camera)
    with timings.measure("texture"):
        return bake_texture(
            image, fit.posed_vertices_mm, fit.triangles, fit.uv, camera, settings, usable
        )


def _as_posed(points: np.ndarray, fit: MorphableFit, settings: ReconstructSettings) -> np.ndarray:
    """Head-frame points or displacements, turned as in the photo when that was asked for."""
    return fit.camera.turn(points) if settings.pose == "image" else points
