"""`face3d prnet`: faces at any pose, through position maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from face3d_cli.cli.options import (
    BoxOpt,
    DetectorOpt,
    FacesOpt,
    FormatOpt,
    JsonOpt,
    LandmarksOpt,
    MapModelOpt,
    OutOpt,
    PhotosArg,
    parse_box,
    parse_faces,
    parse_landmarks,
)
from face3d_cli.cli.photos import PhotoOutcome, run_photos, targets_of, tell_doubts
from face3d_cli.settings import (
    DetectionSettings,
    DetectorName,
    MapModelName,
    PoseChoice,
    PositionMapSettings,
    ReconstructSettings,
    TextureSettings,
    Unit,
)

_DEFAULT = ReconstructSettings()


def prnet(
    photos: PhotosArg,
    out: OutOpt,
    extras: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write there: position map (NPY, 16-bit PNG), sparse and dense alignment, "
            "depth, visibility.",
        ),
    ] = None,
    faces: FacesOpt = "largest",
    detector: DetectorOpt = _DEFAULT.detection.detector,
    box: BoxOpt = None,
    landmarks: LandmarksOpt = None,
    model: MapModelOpt = PositionMapSettings.model,
    weights: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Weights of your own from face3d train prnet."
        ),
    ] = None,
    passes: Annotated[
        int, typer.Option(min=1, max=5, help="How often the network looks.")
    ] = PositionMapSettings.passes,
    mesh_size: Annotated[
        int,
        typer.Option(min=32, max=256, help="Side of the map whose texels are the mesh's vertices."),
    ] = PositionMapSettings.mesh_px,
    pose: Annotated[
        PoseChoice, typer.Option(help="Facing forward, or turned as in the photo.")
    ] = _DEFAULT.pose,
    texture_size: Annotated[
        int, typer.Option(min=256, max=4096, help="Side of the texture in pixels.")
    ] = TextureSettings.size_px,
    mask: Annotated[
        bool,
        typer.Option(
            "--mask/--no-mask", help="Leave hair, glasses and background out of the texture."
        ),
    ] = TextureSettings.mask,
    unit: Annotated[
        Unit | None, typer.Option(help="Unit of the files; metres, and millimetres in STL.")
    ] = None,
    file_format: FormatOpt = "glb",
    as_json: JsonOpt = False,
) -> None:
    """Turn faces at any pose up to profile into meshes, through a position map network.

    OUT is a file (.obj .ply .glb .stl) for one photo, or a folder. All faces of a photo share one
    pass of the network. Prints the files.

    Example: face3d prnet photo.jpg -o face.obj --extras maps
    """
    settings = prnet_settings(
        detector=detector,
        model=model,
        weights=weights,
        passes=passes,
        mesh_size=mesh_size,
        pose=pose,
        texture_size=texture_size,
        mask=mask,
    )
    targets = targets_of(photos, out, file_format)
    which, given, points = parse_faces(faces), parse_box(box), parse_landmarks(landmarks)
    from face3d_cli.pipeline.position_map import map_faces

    def one_photo(photo: str) -> PhotoOutcome:
        found = map_faces(photo, settings, faces=which, box=given, landmarks_px=points)
        tell_doubts(photo, found.result.faces)
        target = targets[photo]
        saved = found.result.save(target, unit=unit)
        written = found.save_extras(extras, target.stem) if extras else []
        files = list(dict.fromkeys(each.mesh for each in saved))
        return PhotoOutcome(found.to_json(saved, written), [*files, *written])

    run_photos(photos, one_photo, as_json=as_json, text="mapping")


def prnet_settings(
    *,
    detector: DetectorName,
    model: MapModelName,
    weights: Path | None,
    passes: int,
    mesh_size: int,
    pose: PoseChoice,
    texture_size: int,
    mask: bool,
) -> ReconstructSettings:
    """What the options say, for one photo or a batch of them."""
    return ReconstructSettings(
        method="prnet",
        pose=pose,
        detection=DetectionSettings(detector=detector),
        position_map=PositionMapSettings(
            model=model,
            weights=str(weights.absolute()) if weights else None,
            passes=passes,
            mesh_px=mesh_size,
        ),
        texture=TextureSettings(size_px=texture_size, mask=mask),
    )
