"""Which stages turn the faces of a photo into meshes through position maps, and what is written?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, RgbImage
from face3d_cli.core.camera import PoseDegrees
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.mesh import METRES_PER_UNIT, Mesh
from face3d_cli.core.position_map import NECK_BELOW_V
from face3d_cli.pipeline.locate import find_boxes, read_input
from face3d_cli.pipeline.result import (
    FaceReconstruction,
    Reconstruction,
    SavedMesh,
    StageTimings,
    numbered,
)
from face3d_cli.settings import FacesChoice, ReconstructSettings, TextureSettings

if TYPE_CHECKING:
    from face3d_cli.stages.map_mesh import MapMesh
    from face3d_cli.stages.position_map import PositionMap
    from face3d_cli.stages.texture import BakedTexture

METHOD = "prnet"
METHOD_OF_MODEL = {  # what the report calls it, and whose terms bind
    "prnet-mobilenetv2": "prnet-mobilenetv2",
    "prnet-resfcn256": "prnet-published",
}


@dataclass(frozen=True)
class MappedFaces:
    """The faces of one photo, with the maps they are made of.

    Attributes:
        result: meshes and report, as of any other method.
        maps: one for each face.
        meshes: the same faces before they were posed and textured.
        visibility: (T, T) of each face, 1 where the texture is the photo's; None without texture.
    """

    result: Reconstruction
    maps: tuple[PositionMap, ...]
    meshes: tuple[MapMesh, ...]
    visibility: tuple[FloatArray | None, ...]

    def save_extras(self, folder: Path, stem: str) -> list[Path]:
        """Write what a position map gives beside the mesh.

        For each face STEM.position.npy, STEM.position.png (16 bit; the report tells its scale) and
        STEM.visibility.png; for the photo STEM.sparse.png, STEM.dense.png and STEM.depth.png.

        Raises:
            OutputError: a file cannot be written.
        """
        from face3d_cli.io.image import save_png
        from face3d_cli.io.position_map import save_map_npy, save_map_png
        from face3d_cli.stages.contact_sheet import draw_landmarks
        from face3d_cli.stages.map_pictures import draw_dense, draw_depth, pack_map

        image, size = self.result.image, self.result_map_px
        faces = [(face.box, face.landmarks_px) for face in self.result.faces]
        pictures = {
            "sparse": draw_landmarks(image, faces),
            "dense": draw_dense(image, self.meshes),
            "depth": draw_depth(image.shape[:2], self.meshes),
        }
        written = []
        with self.result.timings.measure("write"):
            for name, picture in pictures.items():
                written.append(folder / f"{stem}.{name}.png")
                save_png(written[-1], picture)
            for index, stem_path in enumerate(numbered(folder / stem, len(self.maps))):
                base = stem_path.name
                written.append(folder / f"{base}.position.npy")
                save_map_npy(written[-1], self.maps[index].fine_map(size))
                written.append(folder / f"{base}.position.png")
                save_map_png(written[-1], pack_map(self.maps[index], size).pixels)
                visible = self.visibility[index]
                if visible is not None:
                    written.append(folder / f"{base}.visibility.png")
                    save_png(written[-1], np.round(255 * visible).astype(np.uint8))
        return written

    @property
    def result_map_px(self) -> int:
        """Side of the maps that are written."""
        return len(self.maps[0].valid) if self.maps else 0

    def to_json(
        self, saved: Sequence[SavedMesh] = (), extras: Sequence[Path] = ()
    ) -> dict[str, Any]:
        """The report: that of any reconstruction, and how the 16-bit maps are scaled."""
        from face3d_cli.stages.map_pictures import pack_map

        report = self.result.to_json(saved)
        for face, position_map in zip(report["faces"], self.maps, strict=True):
            packed = pack_map(position_map, self.result_map_px)
            face["position_map"] = {
                "size": self.result_map_px,
                "origin_px": packed.origin_px.round(4).tolist(),
                "side_px": round(packed.side_px, 4),
            }
        report["files"] = [str(path) for path in extras]
        return report


def map_faces(
    photo: str | Path | RgbImage,
    settings: ReconstructSettings = ReconstructSettings(),
    *,
    faces: FacesChoice | int = "largest",
    box: FaceBox | None = None,
    landmarks_px: Points2 | None = None,
) -> MappedFaces:
    """Find faces and regress their position maps; arguments and errors as those of `reconstruct`.

    Landmarks that are given tell where the face is, and nothing more.
    """
    timings = StageTimings()
    name, image = read_input(photo, settings, timings)
    boxes = find_boxes(
        image, name, settings, timings, faces=faces, box=box, landmarks_px=landmarks_px
    )
    return map_found(name, image, find_maps(image, boxes, settings, timings), settings, timings)


def find_maps(
    image: RgbImage,
    boxes: Sequence[FaceBox],
    settings: ReconstructSettings,
    timings: StageTimings,
) -> list[PositionMap]:
    """The position maps of faces that were found."""
    from face3d_cli.stages.position_map import predict_position_maps

    with timings.measure("position_map"):
        return predict_position_maps(image, boxes, settings.position_map)


def map_found(
    name: str,
    image: RgbImage,
    maps: Sequence[PositionMap],
    settings: ReconstructSettings,
    timings: StageTimings,
) -> MappedFaces:
    """Meshes of position maps."""
    made = [_one_face(image, each, settings, timings) for each in maps]
    found = tuple(face for face, _, _ in made)
    return MappedFaces(
        Reconstruction(name, image, _method(settings), found, timings),
        tuple(maps),
        tuple(mesh for _, mesh, _ in made),
        tuple(baked.visibility if baked else None for _, _, baked in made),
    )


def _method(settings: ReconstructSettings) -> str:
    return METHOD_OF_MODEL.get(settings.position_map.model, METHOD)


def _one_face(
    image: RgbImage,
    position_map: PositionMap,
    settings: ReconstructSettings,
    timings: StageTimings,
) -> tuple[FaceReconstruction, MapMesh, BakedTexture | None]:
    from face3d_cli.stages.map_mesh import mesh_of_map

    with timings.measure("mesh"):
        mesh = mesh_of_map(position_map, settings.position_map.mesh_px)
    camera, baked, shares = mesh.camera, None, None
    if settings.texture is not None:
        baked, shares = _bake(image, mesh, settings.texture, timings)
    is_posed = settings.pose == "image"
    vertices = camera.turn(mesh.vertices_mm) if is_posed else mesh.vertices_mm
    landmarks = camera.turn(mesh.landmarks_mm) if is_posed else mesh.landmarks_mm
    face = FaceReconstruction(
        box=position_map.box,
        landmarks_px=position_map.landmarks_px,
        landmarks_3d_m=landmarks * METRES_PER_UNIT["mm"],
        pose=PoseDegrees.from_rotation(camera.rotation),
        camera=(camera.of_turned() if is_posed else camera).in_unit(METRES_PER_UNIT["mm"]),
        mesh=Mesh(
            vertices=vertices,
            triangles=mesh.triangles,
            uv=mesh.uv,
            texture=baked.image if baked else None,
            unit="mm",
        ).in_unit("m"),
        fit_error_px=0.0,  # the landmarks are the mesh's own
        coefficients={},
        visible_share=baked.visible_share if baked else None,
        occlusion=shares,
        doubt=position_map.doubt,
    )
    return face, mesh, baked


def _bake(
    image: RgbImage, mesh: MapMesh, settings: TextureSettings, timings: StageTimings
) -> tuple[BakedTexture, dict[str, float] | None]:
    from face3d_cli.stages.texture import bake_texture

    camera, usable, shares = mesh.camera, None, None
    if settings.mask:
        from face3d_cli.stages.occlusion import find_occlusion

        with timings.measure("segment"):
            face_mm = mesh.vertices_mm[mesh.uv[:, 1] > NECK_BELOW_V]
            found = find_occlusion(image, camera.project(face_mm), settings)
        usable, shares = found.usable, found.shares
        height, width = usable.shape
        image = image[found.top : found.top + height, found.left : found.left + width]
        camera = camera.in_cut((found.left, found.top))
    with timings.measure("texture"):
        baked = bake_texture(
            image, mesh.vertices_mm, mesh.triangles, mesh.uv, camera, settings, usable
        )
    return baked, shares
