"""What a reconstruction gives, how it is written, and what its report says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage, Triangles
from face3d_cli.core.camera import PoseDegrees, ScaledOrthographicCamera
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.mesh import METRES_PER_UNIT, Mesh, merged
from face3d_cli.errors import Face3dError, UsageError
from face3d_cli.networks.runner import device_name
from face3d_cli.settings import FaceLayout, Unit
from face3d_cli.version import __version__
from face3d_cli.weights.registry import MODELS_OF_METHOD, licence_records

if TYPE_CHECKING:
    from face3d_cli.io.frame import FileFrame


@dataclass(frozen=True)
class StageTimings:
    """How long each stage took, in milliseconds, in the order they ran."""

    elapsed_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = 1e3 * (time.perf_counter() - start)
            self.elapsed_ms[stage] = self.elapsed_ms.get(stage, 0.0) + spent

    def to_json(self) -> dict[str, float]:
        """Rounded to a hundredth of a millisecond."""
        return {stage: round(spent, 2) for stage, spent in self.elapsed_ms.items()}


@dataclass(frozen=True)
class Relighting:
    """What refining by shading found out beside the shape.

    Attributes:
        light: (9, 3) second-order spherical harmonics for red, green and blue, in the frame of the
            mesh; the skin's mean brightness under it is 1, so that its colour is in the albedo.
        vertex_shading: (V, 3) how brightly it falls on each vertex.
        moved_mm: mean distance by which vertices were displaced; 0 where they were left as fitted,
            because the face's halves did not agree on a displacement.
        agreement: of the halves, as a cosine.
        unexplained_before, unexplained_after: spread of the skin's relative brightness that the
            shading leaves over.
        albedo: (T, T, 3) the texture with the light taken out; None without a texture.
    """

    light: FloatArray
    vertex_shading: FloatArray
    moved_mm: float
    agreement: float
    unexplained_before: float
    unexplained_after: float
    albedo: RgbImage | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for the report and the file beside the mesh."""
        return {
            "model": "spherical_harmonics_2",
            "basis": ["1", "y", "z", "x", "xy", "yz", "3z2-1", "xz", "x2-y2"],
            "frame": "+X to the subject's left, +Y up, +Z out of the face",
            "radiance_rgb": self.light.round(6).tolist(),
            "refined": self.moved_mm > 0,
            "halves_agree": round(self.agreement, 4),
            "moved_mm": round(self.moved_mm, 4),
            "unexplained_before": round(self.unexplained_before, 5),
            "unexplained_after": round(self.unexplained_after, 5),
        }


@dataclass(frozen=True)
class FaceReconstruction:
    """One face of a photo as a mesh.

    Attributes:
        box: where it was found, in image pixels.
        landmarks_px: (68, 2) image pixels.
        landmarks_3d_m: (68, 3) metres, in the frame of `mesh`.
        pose: where the face looks in the photo.
        camera: projects the mesh, in metres, into the photo.
        mesh: in metres, head frame; turned as in the photo when `--pose image` was asked for.
        fit_error_px: mean distance of the projected landmarks to the given ones.
        coefficients: of the morphable model, as the report shows them.
        visible_share: share of the texture that the photo shows, 0 to 1; None without a texture.
        occlusion: what the face's outline shows in the photo, as shares: `visible_skin`, `hair`,
            `glasses`, ...; None without segmentation.
        parts: objects of the same face beside `mesh`: a head's eyes.
        face_triangles: (F', 3) those of `mesh` that are face, where it is a whole head: no skull,
            teeth or inner mouth. None where all of the mesh is face.
        fitted_to: whose `landmarks` a head was fitted to, how many `dense_points`, and by which
            `network`; None for other methods.
        relighting: light and albedo; None without refining.
        doubt: how far the position map's landmarks lie from those of the mirrored face, over the
            square that the network saw; None for other methods.
        light: (9, 3) harmonics of the light that `mesh` is seen in in the photo, in its frame; its
            colours are the texture's own. None where it was not estimated.
    """

    box: FaceBox
    landmarks_px: Points2
    landmarks_3d_m: Points3
    pose: PoseDegrees
    camera: ScaledOrthographicCamera
    mesh: Mesh
    fit_error_px: float
    coefficients: dict[str, Any]
    visible_share: float | None
    occlusion: dict[str, float] | None = None
    parts: tuple[Mesh, ...] = ()
    face_triangles: Triangles | None = None
    fitted_to: dict[str, Any] | None = None
    relighting: Relighting | None = None
    doubt: float | None = None
    light: FloatArray | None = None

    def face_part(self) -> tuple[Points3, Triangles]:
        """Vertices and triangles of the face alone, with its expression on: what scans measure."""
        triangles = self.mesh.triangles if self.face_triangles is None else self.face_triangles
        return self.mesh.posed().vertices, triangles

    def whole(self) -> Mesh:
        """All of the face as one mesh, with its expression on."""
        return (merged((self.mesh, *self.parts)) if self.parts else self.mesh).posed()


@dataclass(frozen=True)
class SavedMesh:
    """The files of one face, and their unit and up axis.

    Attributes:
        files: the mesh first.
        albedo: the texture without light, where it was refined.
        light: JSON of the light.
    """

    files: tuple[Path, ...]
    frame: FileFrame
    albedo: Path | None = None
    light: Path | None = None

    @property
    def mesh(self) -> Path:
        """The mesh file."""
        return self.files[0]

    @property
    def texture(self) -> Path | None:
        """The picture beside the mesh, if the format keeps one there."""
        return next((file for file in self.files if file.suffix == ".png"), None)


@dataclass(frozen=True)
class Reconstruction:
    """All faces of one photo, left to right.

    Attributes:
        photo: the photo's name as given.
        image: (H, W, 3) the photo.
        method: which method made the meshes.
        device: where networks ran.
    """

    photo: str
    image: RgbImage
    method: str
    faces: tuple[FaceReconstruction, ...]
    timings: StageTimings
    device: str = field(default_factory=device_name)

    def save(
        self,
        path: str | Path,
        *,
        unit: Unit | None = None,
        for_blender: bool = False,
        layout: FaceLayout | None = None,
    ) -> list[SavedMesh]:
        """Write every face; the suffix chooses OBJ, PLY, GLB or STL.

        A single face keeps the name asked for; several become `name_0.obj`, `name_1.obj`, ... from
        left to right. Each file is whole or absent. A GLB of a head holds its eyes as objects of
        their own, and its landmarks as empties; other formats hold one mesh. A refined face has
        `name_albedo.png`, its texture without light, and `name_light.json` beside it.

        Args:
            path: of the file, or of the first part of its name.
            unit: of the file.
            for_blender: axes and unit that Blender imports by default.
            layout: all faces in one GLB: "photo" places them as in the photo, "centred" all at the
                origin; None is a file for each.

        Returns:
            What was written for each face.

        Raises:
            UsageError: the suffix is unknown, or a layout was asked of another format than GLB.
            OutputError: a file cannot be written.
        """
        path = Path(path)
        if layout is not None or (path.suffix.lower() == ".glb" and self.faces[0].parts):
            written = self._save_scenes(path, unit, layout)
        else:
            written = self._save_meshes(path, unit, for_blender)
        places = numbered(path, len(self.faces))
        with self.timings.measure("write"):
            return [
                _save_relighting(saved, face, place)
                for saved, face, place in zip(written, self.faces, places, strict=True)
            ]

    def _shots(self, names: Sequence[str], places: Sequence[FloatArray]) -> list[dict[str, Any]]:
        """How the photo shows each face: what `face3d render --view photo` needs."""
        shots = []
        for name, face, place in zip(names, self.faces, places, strict=True):
            light = face.light if face.relighting is None else face.relighting.light
            shots.append(
                {
                    "name": name,
                    "photo_size_px": list(self.image.shape[1::-1]),
                    "camera": face.camera.with_origin(-place).to_json(),
                    **({} if light is None else {"light_rgb": light.round(5).tolist()}),
                }
            )
        return shots

    def _save_meshes(self, path: Path, unit: Unit | None, for_blender: bool) -> list[SavedMesh]:
        """A mesh file for each face."""
        from face3d_cli.io.mesh import frame_of, save_mesh

        if any(face.mesh.tiles for face in self.faces):
            raise UsageError(
                f"a texture for each tile is for .glb files, found {path.name}",
                hint="use --texture-layout atlas with other formats",
            )
        written = []
        with self.timings.measure("write"):
            for face, file in zip(self.faces, numbered(path, len(self.faces)), strict=True):
                provenance = self.provenance()
                if file.suffix.lower() == ".glb":
                    each = replace(self, faces=(face,))
                    provenance["faces"] = each._shots([file.stem], [np.zeros(3)])
                files = save_mesh(
                    replace(face.whole() if face.parts else face.mesh, name=file.stem),
                    file,
                    unit=unit,
                    for_blender=for_blender,
                    provenance=provenance,
                )
                frame = frame_of(file, unit=unit, for_blender=for_blender)
                written.append(SavedMesh(tuple(files), frame))
        return written

    def _save_scenes(
        self, path: Path, unit: Unit | None, layout: FaceLayout | None
    ) -> list[SavedMesh]:
        """GLB files of nodes with children: one for each face, or one for all."""
        from face3d_cli.io.glb import FaceNode, save_glb
        from face3d_cli.io.mesh import frame_of

        if path.suffix.lower() != ".glb":
            raise UsageError(f"--layout is for .glb files, found {path.name}")
        files = [path] if layout is not None else numbered(path, len(self.faces))
        names = [each.stem for each in numbered(path, len(self.faces))]
        scale = float(np.median([face.camera.scale_px_per_unit for face in self.faces]))
        middle = (np.array(self.image.shape[1::-1]) - 1) / 2
        nodes, places_m = [], []
        for name, face in zip(names, self.faces, strict=True):
            place = np.zeros(3)
            if layout == "photo":
                place[:2] = (face.camera.shift_px - middle) * (1, -1) / scale
            # A lone mesh has no name of its own; objects of a head keep theirs behind the face's.
            meshes = [
                replace(mesh, name=f"{name}_{mesh.name}" if face.parts else name)
                for mesh in (face.mesh, *face.parts)
            ]
            places_m.append(place)
            nodes.append(FaceNode(name, tuple(meshes), face.landmarks_3d_m, place))
        frame = frame_of(path, unit=unit)
        shots = self._shots(names, places_m)
        groups = [nodes] if layout is not None else [[node] for node in nodes]
        own_shots = [shots] if layout is not None else [[shot] for shot in shots]
        with self.timings.measure("write"):
            for file, group, seen in zip(files, groups, own_shots, strict=True):
                provenance = {**self.provenance(), "faces": seen}
                save_glb(group, file, unit=frame.unit, provenance=provenance)
        places = [path] * len(nodes) if layout is not None else files
        return [SavedMesh((file,), frame) for file in places]

    def licences(self) -> list[dict[str, str]]:
        """The terms that bind this result."""
        models = MODELS_OF_METHOD[self.method]
        if "unet-face" not in models and any(face.occlusion for face in self.faces):
            models = (*models, "unet-face")
        for face in self.faces:
            network = face.fitted_to["network"] if face.fitted_to else None
            if network is not None and network not in models:
                models = (*models, network)
        return licence_records(models)

    def provenance(self) -> dict[str, Any]:
        """What mesh files say of themselves."""
        return {
            "generator": f"face3d {__version__}",
            "photo": Path(self.photo).name,
            "method": self.method,
            "scale": "a guess from the morphable model's mean size",
            "licences": self.licences(),
        }

    def to_json(self, saved: Sequence[SavedMesh] = ()) -> dict[str, Any]:
        """The report; `saved` is what `save` returned, empty when nothing was written.

        Points are in the unit and axes of the mesh file; the camera takes head-frame points in
        that unit.
        """
        return {
            "photo": self.photo,
            "status": "ok",
            "method": self.method,
            "device": self.device,
            "version": __version__,
            "timings_ms": self.timings.to_json(),
            "faces": [
                _face_json(index, face, saved[index] if saved else None)
                for index, face in enumerate(self.faces)
            ],
            "licences": self.licences(),
        }


def _save_relighting(saved: SavedMesh, face: FaceReconstruction, mesh: Path) -> SavedMesh:
    """Write light and albedo beside a mesh, where there are any."""
    look = face.relighting
    if look is None:
        return saved
    from face3d_cli.io.atomic import atomic_path
    from face3d_cli.io.image import save_png

    light, albedo = mesh.with_name(f"{mesh.stem}_light.json"), None
    with atomic_path(light) as unfinished:
        unfinished.write_text(json.dumps(look.to_json(), indent=1) + "\n", encoding="utf-8")
    if look.albedo is not None:
        albedo = mesh.with_name(f"{mesh.stem}_albedo.png")
        save_png(albedo, look.albedo)
    return replace(saved, albedo=albedo, light=light)


def _face_json(index: int, face: FaceReconstruction, saved: SavedMesh | None) -> dict[str, Any]:
    from face3d_cli.io.frame import FileFrame, points_to_file

    frame = saved.frame if saved else FileFrame("m", "y")
    camera = face.camera.in_unit(1.0 / METRES_PER_UNIT[frame.unit])
    return {
        "index": index,
        **box_json(face.box),
        "landmarks_px": face.landmarks_px.round(3).tolist(),
        "landmarks_3d": points_to_file(face.landmarks_3d_m, frame).round(6).tolist(),
        "pose_deg": {axis: round(angle, 3) for axis, angle in face.pose.to_json().items()},
        "camera": camera.to_json(),
        "mesh": str(saved.mesh) if saved else None,
        "texture": str(saved.texture) if saved and saved.texture else None,
        "vertices": sum(len(mesh.vertices) for mesh in (face.mesh, *face.parts)),
        "triangles": sum(len(mesh.triangles) for mesh in (face.mesh, *face.parts)),
        "unit": frame.unit,
        "scale_is_a_guess": True,
        "fit_error_px": round(face.fit_error_px, 4),
        "visible_share": face.visible_share,
        "occlusion": face.occlusion,
        "coefficients": face.coefficients,
        **({"fitted_to": face.fitted_to} if face.fitted_to else {}),
        **({"doubt": round(face.doubt, 4)} if face.doubt is not None else {}),
        **_relighting_json(face.relighting, saved),
    }


def _relighting_json(look: Relighting | None, saved: SavedMesh | None) -> dict[str, Any]:
    """`relighting`: nothing when the face was not refined."""
    if look is None:
        return {}
    albedo, light = (saved.albedo, saved.light) if saved else (None, None)
    files = {"albedo": str(albedo) if albedo else None, "light": str(light) if light else None}
    return {"relighting": {**files, **look.to_json()}}


def box_json(box: FaceBox) -> dict[str, Any]:
    """`box_px`, `score` and `detector` of the report."""
    return {
        "box_px": [round(edge, 2) for edge in (box.x, box.y, box.width, box.height)],
        "score": round(box.score, 4) if box.score is not None else None,
        "detector": box.detector,
    }


def failure_json(photo: str, problem: Face3dError) -> dict[str, Any]:
    """The report of a photo that could not be done."""
    return {
        "photo": photo,
        "status": problem.status,
        "version": __version__,
        "error": " ".join(str(problem).split()),
    }


def numbered(path: Path, count: int) -> list[Path]:
    """The name asked for when there is one file, else NAME_0, NAME_1, ... beside it."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{index}{path.suffix}") for index in range(count)]
