"""`face3d fit`: a morphable model from a photo's landmarks, with its coefficients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from face3d_cli.cli import output
from face3d_cli.cli.options import (
    BoxOpt,
    CameraOpt,
    ComponentsOpt,
    DenseOpt,
    DetectorOpt,
    ExpressionsOpt,
    FacesOpt,
    FieldOfViewOpt,
    IterationsOpt,
    JsonOpt,
    LandmarksOpt,
    PhotosArg,
    parse_box,
    parse_faces,
    parse_landmarks,
    require_ict_for_perspective,
)
from face3d_cli.cli.photos import PhotoOutcome, run_photos, targets_of
from face3d_cli.errors import UsageError
from face3d_cli.settings import (
    CameraSettings,
    DensePointSettings,
    DetectionSettings,
    FaceModelName,
    MorphableSettings,
    ReconstructSettings,
)

_DEFAULT = MorphableSettings()


def fit(
    photos: PhotosArg,
    model: Annotated[
        FaceModelName,
        typer.Option(help="Surrey by eos; or ICT-FaceKit, one shape for all photos of a person."),
    ] = "surrey",
    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Mesh without texture; or a folder for several."
        ),
    ] = None,
    faces: FacesOpt = "largest",
    detector: DetectorOpt = DetectionSettings.detector,
    box: BoxOpt = None,
    landmarks: LandmarksOpt = None,
    expressions: ExpressionsOpt = _DEFAULT.use_expressions,
    iterations: IterationsOpt = _DEFAULT.num_iterations,
    shape_components: ComponentsOpt = _DEFAULT.num_shape_coefficients,
    camera: CameraOpt = CameraSettings.model,
    field_of_view: FieldOfViewOpt = CameraSettings.field_of_view_deg,
    dense: DenseOpt = True,
    as_json: JsonOpt = False,
) -> None:
    """Fit a morphable model to photos' landmarks: the Surrey Face Model with eos, or ICT-FaceKit.

    With --model ict several photos show one person, and share one shape. With --json prints
    coefficients, camera, pose and the residual in pixels; with -o writes the mesh, without a
    texture.

    Example: face3d fit photo.jpg --landmarks points.pts -o fitted.obj --json
    """
    require_ict_for_perspective(camera, model)
    if out is None and not as_json:
        raise UsageError("nothing to write: expected -o FILE or --json")
    settings = ReconstructSettings(
        method=model,
        detection=DetectionSettings(detector=detector),
        morphable=MorphableSettings(
            num_iterations=iterations,
            num_shape_coefficients=shape_components,
            use_expressions=expressions,
        ),
        camera=CameraSettings(camera, field_of_view),
        dense=DensePointSettings() if dense else None,
        texture=None,
    )
    targets = targets_of(photos, out, "obj") if out else {}
    wanted, known_box, points = parse_faces(faces), parse_box(box), parse_landmarks(landmarks)
    if model == "ict" and len(photos) > 1:
        _fit_person(photos, settings, targets, as_json, {"box": known_box, "landmarks_px": points})
        return
    from face3d_cli.pipeline.single import reconstruct

    def one_photo(photo: str) -> PhotoOutcome:
        result = reconstruct(photo, settings, faces=wanted, box=known_box, landmarks_px=points)
        saved = result.save(targets[photo]) if photo in targets else []
        return PhotoOutcome(result.to_json(saved), [each.mesh for each in saved])

    run_photos(photos, one_photo, as_json=as_json, text="fitting")


def _fit_person(
    photos: list[str],
    settings: ReconstructSettings,
    targets: dict[str, Path],
    as_json: bool,
    given: dict[str, Any],
) -> None:
    """All photos at once: one that cannot be used stops the fit, for the shape is everyone's."""
    from face3d_cli.pipeline.head import reconstruct_person

    with output.progress(None, "fitting"):
        results = reconstruct_person(photos, settings, **given)
    for result in results:
        saved = result.save(targets[result.photo]) if result.photo in targets else []
        if as_json:
            output.json_line(result.to_json(saved))
        else:
            for each in saved:
                output.result(str(each.mesh))
