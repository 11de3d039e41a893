"""What can a batch do with a photo? For each command a task: settings that travel, and one call.

Heavy libraries are loaded when a worker warms up. Extra results that a command writes to a file of
its own go to a folder, under the photo's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from face3d_cli.core.face_box import FaceBox
from face3d_cli.pipeline.tasks import Job
from face3d_cli.settings import (
    ClassSet,
    FaceLayout,
    FacesChoice,
    MeshFormat,
    MeshNetSettings,
    ReconstructSettings,
    SegmentationSettings,
    Unit,
)

if TYPE_CHECKING:
    from face3d_cli.pipeline.meshnet_files import MeshNetFiles

LANDMARK_SUFFIXES = ("pts", "landmarks.png")  # the report stands in the manifest


@dataclass(frozen=True)
class ReconstructTask:
    """`face3d reconstruct` for one photo after the other; `sheets` is for contact sheets."""

    name: ClassVar[str] = "reconstruct"
    settings: ReconstructSettings = field(default_factory=ReconstructSettings)
    faces: FacesChoice | int = "largest"
    box: FaceBox | None = None
    file_format: MeshFormat = "glb"
    unit: Unit | None = None
    for_blender: bool = False
    layout: FaceLayout | None = None
    sheets: Path | None = None

    def folders(self) -> Sequence[Path]:
        """Of the contact sheets."""
        return _given(self.sheets)

    def warm_up(self) -> None:
        """Find the model and load the libraries."""
        from face3d_cli.pipeline.single import choose_method

        choose_method(self.settings.method)
        with suppress(ModuleNotFoundError):  # what is missing is said where it is needed
            import face3d_cli.stages.detection
            import face3d_cli.stages.landmarks
            import face3d_cli.stages.morphable
            import face3d_cli.stages.texture  # noqa: F401

    def run(self, job: Job) -> dict[str, Any]:
        """Write a mesh for each face."""
        from face3d_cli.pipeline.single import reconstruct, save_contact_sheets

        result = reconstruct(job.photo, self.settings, faces=self.faces, box=self.box)
        path = job.result(self.file_format)
        saved = result.save(path, unit=self.unit, for_blender=self.for_blender, layout=self.layout)
        if self.sheets is not None:
            save_contact_sheets(result, job.result("sheet.png", self.sheets))
        return result.to_json(saved)


@dataclass(frozen=True)
class LandmarksTask:
    """`face3d landmarks` for one photo after the other."""

    name: ClassVar[str] = "landmarks"
    settings: ReconstructSettings = field(default_factory=ReconstructSettings)
    faces: FacesChoice | int = "largest"
    box: FaceBox | None = None
    suffixes: Sequence[str] = LANDMARK_SUFFIXES

    def folders(self) -> Sequence[Path]:
        """None."""
        return ()

    def warm_up(self) -> None:
        """Load the libraries."""
        import face3d_cli.stages.detection
        import face3d_cli.stages.landmarks  # noqa: F401

    def run(self, job: Job) -> dict[str, Any]:
        """Write the points and a picture."""
        from face3d_cli.pipeline.locate import locate

        found = locate(job.photo, self.settings, faces=self.faces, box=self.box)
        for suffix in self.suffixes:
            found.save(job.result(suffix))
        return found.to_json()


@dataclass(frozen=True)
class SegmentTask:
    """`face3d segment` for one photo after the other."""

    name: ClassVar[str] = "segment"
    settings: SegmentationSettings = field(default_factory=SegmentationSettings)
    class_set: ClassSet = "all"
    faces: FacesChoice | int | None = None
    weights: Path | None = None
    overlays: Path | None = None
    probabilities: Path | None = None

    def folders(self) -> Sequence[Path]:
        """Of overlays and probabilities."""
        return _given(self.overlays, self.probabilities)

    def warm_up(self) -> None:
        """Load the libraries and find the weights."""
        from face3d_cli.stages.segmentation import shipped_weights

        if self.weights is None:
            shipped_weights(self.class_set)

    def run(self, job: Job) -> dict[str, Any]:
        """Write the labels, and what else is wanted."""
        from face3d_cli.pipeline.segment import segment_file

        files = {"labels": job.result("labels.png")}
        if self.overlays is not None:
            files["overlay"] = job.result("overlay.png", self.overlays)
        if self.probabilities is not None:
            files["probabilities"] = job.result("npz", self.probabilities)
        return segment_file(
            job.photo,
            files,
            self.settings,
            class_set=self.class_set,
            faces=self.faces,
            weights=self.weights,
        )


@dataclass(frozen=True)
class PrnetTask:
    """`face3d prnet` for one photo after the other; `extras` is for maps and pictures."""

    name: ClassVar[str] = "prnet"
    settings: ReconstructSettings = field(default_factory=ReconstructSettings)
    faces: FacesChoice | int = "largest"
    box: FaceBox | None = None
    file_format: MeshFormat = "glb"
    unit: Unit | None = None
    extras: Path | None = None

    def folders(self) -> Sequence[Path]:
        """Of maps and pictures."""
        return _given(self.extras)

    def warm_up(self) -> None:
        """Find the network and load the libraries."""
        import face3d_cli.stages.detection
        import face3d_cli.stages.position_map
        import face3d_cli.stages.texture  # noqa: F401
        from face3d_cli.weights.store import find_model

        if self.settings.position_map.weights is None:
            find_model(self.settings.position_map.model)

    def run(self, job: Job) -> dict[str, Any]:
        """Write a mesh for each face, and what else is wanted."""
        from face3d_cli.pipeline.position_map import map_faces

        found = map_faces(job.photo, self.settings, faces=self.faces, box=self.box)
        saved = found.result.save(job.result(self.file_format), unit=self.unit)
        written: Sequence[Path] = ()
        if self.extras is not None:
            place = self.extras / job.name
            written = found.save_extras(place.parent, place.name)
        return found.to_json(saved, written)


@dataclass(frozen=True)
class MeshNetTask:
    """`face3d meshnet` for one photo after the other."""

    name: ClassVar[str] = "meshnet"
    settings: MeshNetSettings = field(default_factory=MeshNetSettings)
    box: FaceBox | None = None
    file_format: MeshFormat = "glb"
    histories: Path | None = None
    plots: Path | None = None
    gifs: Path | None = None
    comparisons: Path | None = None

    def folders(self) -> Sequence[Path]:
        """Of tables and pictures."""
        return _given(self.histories, self.plots, self.gifs, self.comparisons)

    def warm_up(self) -> None:
        """Find the models and load the libraries."""
        import face3d_cli.stages.meshnet
        import face3d_cli.stages.segmentation  # noqa: F401
        from face3d_cli.weights.store import find_model

        find_model("unet-face")
        if self.settings.init == "surrey":
            find_model("surrey")

    def run(self, job: Job) -> dict[str, Any]:
        """Write the mesh, and what else is wanted.

        Raises:
            StageError: the losses diverged.
        """
        from face3d_cli.pipeline.meshnet import optimise_photo
        from face3d_cli.pipeline.meshnet_files import require_converged, write_meshnet

        files = self._files(job)
        result = optimise_photo(job.photo, self.settings, box=self.box, progress=files.progress)
        saved, _ = write_meshnet(result, files)
        require_converged(result, files.mesh)
        return result.to_json(saved)

    def _files(self, job: Job) -> MeshNetFiles:
        from face3d_cli.pipeline.meshnet_files import MeshNetFiles

        def file_in(folder: Path | None, suffix: str) -> Path | None:
            return None if folder is None else job.result(suffix, folder)

        return MeshNetFiles(
            mesh=job.result(self.file_format),
            history=file_in(self.histories, "losses.csv"),
            plot=file_in(self.plots, "losses.png"),
            gif=file_in(self.gifs, "gif"),
            compare=file_in(self.comparisons, "compare.png"),
            steps=self.settings.steps,
        )


def _given(*folders: Path | None) -> Sequence[Path]:
    return [folder for folder in folders if folder is not None]
