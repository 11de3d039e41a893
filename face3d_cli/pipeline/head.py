"""Which stages turn the photos of one person into animatable ICT-FaceKit heads?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, RgbImage
from face3d_cli.core.camera import PoseDegrees, ScaledOrthographicCamera
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.mesh import METRES_PER_UNIT, Mesh
from face3d_cli.errors import UsageError
from face3d_cli.pipeline.locate import locate_faces, read_input
from face3d_cli.pipeline.result import FaceReconstruction, Reconstruction, StageTimings
from face3d_cli.settings import CameraSettings, ReconstructSettings, TextureSettings
from face3d_cli.weights.store import find_model, model_state

if TYPE_CHECKING:
    from face3d_cli.stages.ict_fit import IctFit
    from face3d_cli.stages.ict_head import HeadLooks
    from face3d_cli.stages.linear_fit import FacePoints, Lens
    from face3d_cli.stages.texture import BakedTexture


def reconstruct_person(
    photos: Sequence[str | Path | RgbImage],
    settings: ReconstructSettings = ReconstructSettings(),
    *,
    landmarks_px: Points2 | None = None,
    box: FaceBox | None = None,
) -> list[Reconstruction]:
    """Fit one head to several photos of one person: one shape, a pose and expression for each.

    Args:
        photos: files or images; the largest face of each is taken.
        settings: everything that decides the result.
        landmarks_px: (68, 2) of every photo, instead of detecting and predicting.
        box: the face of every photo, instead of detecting.

    Raises:
        UnreadableInput, NoFaceFound: a photo cannot be used.
        ModelError: a model is missing or damaged.
        StageError: the face of a photo cannot be fitted.
    """
    find_model("ict-facekit")
    located = []
    for photo in photos:
        timings = StageTimings()
        name, image = read_input(photo, settings, timings)
        (face,) = locate_faces(image, name, settings, timings, box=box, landmarks_px=landmarks_px)
        located.append((name, image, face, timings))
    from face3d_cli.stages.ict_fit import fit_ict

    known = [
        points_of(image, face_box, points, settings, timings)
        for _, image, (face_box, points), timings in located
    ]
    spent = StageTimings()
    with spent.measure("fit"):
        fits = fit_ict(known, settings.linear)
    results = []
    for (name, image, (face_box, _), timings), points, fit in zip(
        located, known, fits, strict=True
    ):
        timings.elapsed_ms["fit"] = spent.elapsed_ms["fit"] / len(fits)
        head = head_of(image, face_box, points, fit, settings, timings)
        results.append(Reconstruction(name, image, "ict", (head,), timings))
    return results


def reconstruct_head(
    image: RgbImage,
    box: FaceBox,
    landmarks_px: Points2,
    settings: ReconstructSettings,
    timings: StageTimings,
) -> FaceReconstruction:
    """One located face as a head."""
    from face3d_cli.stages.ict_fit import fit_ict

    points = points_of(image, box, landmarks_px, settings, timings)
    with timings.measure("fit"):
        (fit,) = fit_ict([points], settings.linear)
    return head_of(image, box, points, fit, settings, timings)


def points_of(
    image: RgbImage,
    box: FaceBox,
    landmarks_px: Points2,
    settings: ReconstructSettings,
    timings: StageTimings,
) -> FacePoints:
    """What the head is fitted to: landmarks, and a position map's points where there is a network.

    Landmarks that were given are always taken.
    """
    points = _points_of(image, box, landmarks_px, settings, timings)
    if settings.camera.model == "auto":
        return points
    return replace(points, lens=_lens(image, settings.camera))


def _lens(image: RgbImage, settings: CameraSettings) -> Lens | None:
    from face3d_cli.stages.linear_fit import Lens

    if settings.model != "perspective":
        return None
    if not 1.0 <= settings.field_of_view_deg <= 150.0:
        raise UsageError(f"--field-of-view must be 1 to 150, found {settings.field_of_view_deg}")
    height, width = image.shape[:2]
    half = math.tan(math.radians(settings.field_of_view_deg) / 2)
    centre = (np.array([width, height]) - 1) / 2
    return Lens(max(width, height) / 2 / half, centre)


def _points_of(
    image: RgbImage,
    box: FaceBox,
    landmarks_px: Points2,
    settings: ReconstructSettings,
    timings: StageTimings,
) -> FacePoints:
    from face3d_cli.stages.linear_fit import FacePoints

    network = settings.position_map
    if settings.dense is None or (
        network.weights is None and model_state(network.model).state == "missing"
    ):
        return FacePoints(landmarks_px)
    from face3d_cli.stages.map_points import dense_points, face_points, lens_of
    from face3d_cli.stages.position_map import predict_position_maps

    with timings.measure("position_map"):
        (found,) = predict_position_maps(image, [box], network)
        if box.detector == "landmarks":
            dense = dense_points(found, settings.dense)
            return FacePoints(landmarks_px, dense, lens=lens_of(found))
        return face_points(found, landmarks_px, settings.dense)


def head_of(
    image: RgbImage,
    box: FaceBox,
    points: FacePoints,
    fit: IctFit,
    settings: ReconstructSettings,
    timings: StageTimings,
) -> FaceReconstruction:
    """Texture and meshes of a fit."""
    from face3d_cli.core.harmonics import turned_light
    from face3d_cli.stages.ict_head import head_meshes
    from face3d_cli.stages.ict_model import IctModel

    looks, baked, shares, light = None, None, None, None
    if settings.texture is not None:
        looks, baked, shares, light = _bake(image, fit, settings.texture, timings)
    with_expression = settings.morphable.use_expressions
    with timings.measure("mesh"):
        meshes = head_meshes(fit, looks, with_expression=with_expression)
        if settings.pose == "image":
            meshes = tuple(_turned(mesh, fit.camera) for mesh in meshes)
        head, *eyes = (mesh.in_unit("m") for mesh in meshes)
    landmarks = (fit.posed_mm if with_expression else fit.neutral_mm)[fit.landmark_vertices]
    if settings.pose == "image":
        landmarks = fit.camera.turn(landmarks)
    return FaceReconstruction(
        box=box,
        landmarks_px=points.landmarks_px,
        landmarks_3d_m=landmarks * METRES_PER_UNIT["mm"],
        pose=PoseDegrees.from_rotation(fit.camera.rotation),
        camera=(fit.camera.of_turned() if settings.pose == "image" else fit.camera).in_unit(
            METRES_PER_UNIT["mm"]
        ),
        mesh=head,
        parts=tuple(eyes),
        face_triangles=IctModel.load().objects["head"].triangles_of("face"),
        fit_error_px=fit.fit_error_px,
        coefficients=fit.coefficients(),
        light=turned_light(light, fit.camera.rotation)
        if light is not None and settings.pose == "image"
        else light,
        fitted_to={
            "landmarks": (
                "given"
                if box.detector == "landmarks"
                else "predicted"
                if points.landmark_weights is None
                else "position map"
            ),
            "dense_points": 0 if points.dense is None else len(points.dense.vertices),
            "network": None if points.dense is None else settings.position_map.model,
        },
        visible_share=baked.visible_share if baked else None,
        occlusion=shares,
    )


def _bake(
    image: RgbImage, fit: IctFit, settings: TextureSettings, timings: StageTimings
) -> tuple[HeadLooks, BakedTexture, dict[str, float] | None, FloatArray | None]:
    from face3d_cli.core.ict_topology import NARROW_FACE
    from face3d_cli.core.segmentation_classes import mask_of
    from face3d_cli.stages.head_light import head_light
    from face3d_cli.stages.ict_head import HeadLooks
    from face3d_cli.stages.ict_model import IctModel, narrow_triangles
    from face3d_cli.stages.ict_segmentation import face_classes
    from face3d_cli.stages.ict_texture import bake_head

    camera, found = fit.camera, None
    if settings.mask:
        from face3d_cli.stages.occlusion import find_occlusion

        with timings.measure("segment"):
            face = fit.posed_mm[NARROW_FACE.vertices]
            found = find_occlusion(image, camera.project(face), settings)
        image, camera = found.cut(image), found.camera(camera)
    with timings.measure("texture"):
        head = IctModel.load().objects["head"]
        usable = found.usable if found else None
        hair = mask_of(found.labels, ("hair", "hat")) if found else None
        textured = bake_head(image, fit.posed_mm, head, camera, settings, usable, hair)
        baked, classes = textured.baked, None
        if found is not None:
            side = len(textured.regions["face"])
            classes = face_classes(found.labels, fit.posed_mm, head, camera, baked.visibility, side)
        light = None
        if found is not None:
            face = fit.posed_mm[NARROW_FACE.vertices]
            light = head_light(image, found.skin, face, narrow_triangles(), camera)
    looks = HeadLooks(baked.image, textured.regions, classes, settings.layout == "udim")
    return looks, baked, found.shares if found else None, light


def _turned(mesh: Mesh, camera: ScaledOrthographicCamera) -> Mesh:
    """The mesh as the photo shows it."""
    return replace(
        mesh,
        vertices=camera.turn(mesh.vertices),
        blendshapes={name: camera.turn(delta) for name, delta in mesh.blendshapes.items()},
        pivot=None if mesh.pivot is None else camera.turn(mesh.pivot[None])[0],
    )
