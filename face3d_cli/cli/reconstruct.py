"""`face3d reconstruct`: photos in, textured meshes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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
    FormatOpt,
    IterationsOpt,
    JsonOpt,
    LandmarksOpt,
    OutOpt,
    PhotosArg,
    parse_box,
    parse_faces,
    parse_landmarks,
    require_ict_for_perspective,
)
from face3d_cli.cli.photos import PhotoOutcome, run_photos, targets_of, tell_doubts
from face3d_cli.errors import UsageError
from face3d_cli.settings import (
    CameraName,
    CameraSettings,
    DensePointSettings,
    DetectionSettings,
    DetectorName,
    FaceLayout,
    MethodName,
    MorphableSettings,
    PoseChoice,
    ReconstructSettings,
    RefineSettings,
    TextureLayout,
    TextureSettings,
    Unit,
)

_DEFAULT = ReconstructSettings()


def reconstruct(
    photos: PhotosArg,
    out: OutOpt,
    method: Annotated[MethodName, typer.Option(help="How meshes are made.")] = _DEFAULT.method,
    faces: FacesOpt = "largest",
    detector: DetectorOpt = _DEFAULT.detection.detector,
    box: BoxOpt = None,
    landmarks: LandmarksOpt = None,
    expressions: ExpressionsOpt = _DEFAULT.morphable.use_expressions,
    iterations: IterationsOpt = _DEFAULT.morphable.num_iterations,
    shape_components: ComponentsOpt = _DEFAULT.morphable.num_shape_coefficients,
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
    texture_layout: Annotated[
        TextureLayout,
        typer.Option(help="One texture, or one for each UDIM tile of a head (ict, GLB)."),
    ] = TextureSettings.layout,
    camera: CameraOpt = _DEFAULT.camera.model,
    field_of_view: FieldOfViewOpt = _DEFAULT.camera.field_of_view_deg,
    dense: DenseOpt = True,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine", help="Displace by shading; write the texture without light, and the light."
        ),
    ] = False,
    unit: Annotated[
        Unit | None, typer.Option(help="Unit of the files; metres, and millimetres in STL.")
    ] = None,
    made_for: Annotated[
        Literal["blender"] | None,
        typer.Option("--for", help="Axes and unit that this program imports by default."),
    ] = None,
    layout: Annotated[
        FaceLayout | None,
        typer.Option(help="All faces in one GLB, placed as in the photo or at the origin."),
    ] = None,
    file_format: FormatOpt = "glb",
    render: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="Contact sheet: photo, landmarks, overlay, front, two sides."
        ),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Turn the faces of photos into textured meshes.

    OUT is a file (.obj .ply .glb .stl) for one photo, or a folder: each photo then becomes
    OUT/NAME.FORMAT. Several faces become NAME_0, NAME_1, ... from left to right. Prints the mesh
    files. A photo that fails does not stop the others: the run then ends with exit code 6.

    Example: face3d reconstruct photo.jpg -o face.glb --render sheet.png
    """
    settings = reconstruct_settings(
        method=method,
        pose=pose,
        detector=detector,
        iterations=iterations,
        shape_components=shape_components,
        expressions=expressions,
        texture_size=texture_size,
        mask=mask,
        texture_layout=texture_layout,
        camera=camera,
        field_of_view=field_of_view,
        dense=dense,
        refine=refine,
    )
    targets = targets_of(photos, out, file_format)
    sheets = targets_of(photos, render, "png") if render else {}
    from face3d_cli.io.mesh import require_apart

    for photo, sheet in sheets.items():
        require_apart(targets[photo], [sheet])
    located: dict[str, Any] = {
        "faces": parse_faces(faces),
        "box": parse_box(box),
        "landmarks_px": parse_landmarks(landmarks),
    }
    from face3d_cli.pipeline.single import choose_method, save_contact_sheets
    from face3d_cli.pipeline.single import reconstruct as run

    usual = choose_method(method)
    if method == "auto":
        output.talk(f"method: {usual} (the best whose models are here)")

    def one_photo(photo: str) -> PhotoOutcome:
        result = run(photo, settings, **located)
        if result.method != usual:
            pose = max(result.faces, key=lambda face: face.box.area).pose
            output.talk(
                f"{photo}: method {result.method} "
                f"(the face has a yaw of {pose.yaw:.0f} deg, a roll of {pose.roll:.0f} deg)"
            )
        tell_doubts(photo, result.faces)
        saved = result.save(
            targets[photo], unit=unit, for_blender=made_for is not None, layout=layout
        )
        if photo in sheets:
            save_contact_sheets(result, sheets[photo])
        return PhotoOutcome(result.to_json(saved), list(dict.fromkeys(s.mesh for s in saved)))

    run_photos(photos, one_photo, as_json=as_json, text="reconstructing")


def reconstruct_settings(
    *,
    method: MethodName,
    pose: PoseChoice,
    detector: DetectorName,
    iterations: int,
    shape_components: int | None,
    expressions: bool,
    texture_size: int,
    mask: bool = TextureSettings.mask,
    texture_layout: TextureLayout = TextureSettings.layout,
    camera: CameraName = CameraSettings.model,
    field_of_view: float = CameraSettings.field_of_view_deg,
    dense: bool = True,
    refine: bool = False,
) -> ReconstructSettings:
    """What the options say, for one photo or a batch of them."""
    if texture_layout == "udim" and method != "ict":
        raise UsageError(f"--texture-layout udim is for --method ict, found --method {method}")
    require_ict_for_perspective(camera, method)
    return ReconstructSettings(
        method=method,
        pose=pose,
        detection=DetectionSettings(detector=detector),
        morphable=MorphableSettings(
            num_iterations=iterations,
            num_shape_coefficients=shape_components,
            use_expressions=expressions,
        ),
        texture=TextureSettings(size_px=texture_size, mask=mask, layout=texture_layout),
        camera=CameraSettings(camera, field_of_view),
        dense=DensePointSettings() if dense else None,
        refine=RefineSettings() if refine else None,
    )
