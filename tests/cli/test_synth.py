"""`face3d synth`: from labelled photos to a folder of samples, with one teacher or two."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.io.image import read_photo
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face
from face3d_cli.training.synth.fit import MEDIAPIPE_68, NARROW_FACE_END, NUM_POINTS, OVAL
from face3d_cli.training.synth.folder import SampleFolder, read_correspondence
from face3d_cli.training.synth.sample import MAP_PX
from face3d_cli.training.synth.surface import face_surface


@pytest.fixture
def labelled(ict: Path, sample_photo: Path, tmp_path: Path) -> Path:
    """The sample photo with the points and the head that both teachers would see in it."""
    shutil.copy(sample_photo, tmp_path / "a.jpg")
    photo = read_photo(sample_photo)
    (box,) = detect_faces(photo)
    landmarks = predict_landmarks(photo, box)
    model = face_surface(MAP_PX).linear_mm
    fit = fit_linear_face(model, [FacePoints(landmarks)])
    (face,) = fit.photos
    shape_mm = model.vertices_mm(fit.shape, face.expression)
    depth_px = face.camera.scale_px_per_unit * face.camera.turn(shape_mm)[:, 2]
    seen = np.column_stack([face.camera.project(shape_mm), -depth_px])
    points = np.zeros((1, 478, 3), np.float32)
    free = np.setdiff1d(np.arange(NUM_POINTS), [*MEDIAPIPE_68, *OVAL])
    points[0, free] = seen[np.linspace(0, NARROW_FACE_END - 1, len(free)).astype(int)]
    points[0, MEDIAPIPE_68] = seen[model.landmark_vertices]
    points[0, MEDIAPIPE_68, :2] = landmarks
    names = np.array(["a.jpg"])
    np.savez(tmp_path / "labels.npz", names=names, points=points)
    np.savez(
        tmp_path / "heads.npz",
        names=names,
        landmarks=seen[None, model.landmark_vertices] * (1, 1, -1),
        rotations=face.camera.rotation[None],
    )
    return tmp_path


def synth(folder: Path, out: str, *more: str) -> list[str]:
    return ["synth", "--labels", str(folder / "labels.npz"), "--data", str(folder),
            "-o", str(folder / out), "--turned", "1", *more]  # fmt: skip


def test_samples_are_made_with_a_second_teacher(labelled: Path) -> None:
    heads = ("--heads", str(labelled / "heads.npz"))
    run = CliRunner().invoke(app, synth(labelled, "samples", *heads))
    assert run.exit_code == 0, run.output
    assert "part 1 of 1" in run.stderr  # no terminal, no bar
    assert len(SampleFolder.open(labelled / "samples")) >= 2
    learnt = read_correspondence(labelled / "samples").heads
    assert learnt is not None
    assert abs(learnt.tilt_rad) < 0.01
    run = CliRunner().invoke(app, synth(labelled, "samples"))
    assert run.exit_code == 3
    assert "was begun with a second teacher's heads" in run.output


def test_samples_are_made_with_one_teacher(labelled: Path) -> None:
    run = CliRunner().invoke(app, synth(labelled, "samples"))
    assert run.exit_code == 0, run.output
    assert read_correspondence(labelled / "samples").heads is None
    run = CliRunner().invoke(
        app, synth(labelled, "samples", "--heads", str(labelled / "labels.npz"))
    )
    assert run.exit_code == 3
    assert "label_with_3ddfa.py" in run.output
