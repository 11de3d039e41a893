"""Which weights let landmarks and a position map together come nearest to known heads?

    face3d models pull ict-facekit
    python benchmarks/dense_fit.py make --photos FACESYNTHETICS --heads 100 -o heads.npz
    python benchmarks/dense_fit.py fit heads.npz [--set dense_noise=0.1 [dense.grid=20 ...]]

`make` draws random ICT heads, coloured by photos of FaceSynthetics (fitted to their true points),
with random expressions, poses and lights before blurred backgrounds, and looks at the pictures as
`reconstruct --method ict` does: detector, landmarks, position map. `fit` fits them and compares
with the truth, as `benchmarks/linear_fit.py` does. No scan, no AFLW2000-3D photo is looked at.
`landmarks=alone` leaves the map out, `landmarks=dlib` never takes its landmarks.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from linear_fit import distances_mm
from scipy.spatial.transform import Rotation

from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import bounding_box, normalised_mean_error
from face3d_cli.core.mesh import vertex_normals
from face3d_cli.core.position_map import landmarks_of
from face3d_cli.core.raster import rasterize
from face3d_cli.evaluation.landmarks import annotated_face
from face3d_cli.io.image import read_photo, save_png
from face3d_cli.pipeline.single import reconstruct
from face3d_cli.settings import (
    DensePointSettings,
    LinearFitSettings,
    ReconstructSettings,
    TextureSettings,
)
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face
from face3d_cli.stages.map_points import dense_points_of, map_landmark_weights
from face3d_cli.stages.position_map import predict_position_maps

PICTURE_PX, FINER = 420, 2
HEAD_PX_PER_MM = 1.15
LEAST_VISIBLE = 0.2  # of the texture
EXPRESSION_SHARE, EXPRESSION_SPREAD = 0.12, 0.45


def textures(folder: Path) -> list[np.ndarray]:
    """Head textures of the photos, fitted to their true landmarks."""
    found = []
    settings = ReconstructSettings(method="ict", dense=None, texture=TextureSettings(size_px=512))
    for path in sorted(folder.glob("*_ldmks.txt"))[::3]:
        truth = np.loadtxt(path)[:68]
        image = read_photo(path.with_name(path.name.replace("_ldmks.txt", ".jpg")))
        (face,) = reconstruct(image, settings, landmarks_px=truth).faces
        if face.mesh.texture is not None and (face.visible_share or 0.0) > LEAST_VISIBLE:
            found.append((image, face.mesh.texture))
    return found


def drawn(
    vertices_mm: np.ndarray,
    turn: np.ndarray,
    texture: np.ndarray,
    behind: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(PICTURE_PX, PICTURE_PX, 3) the head in soft light from a random side."""
    model, size = IctModel.load(), PICTURE_PX * FINER
    picture = cv2.GaussianBlur(cv2.resize(behind, (size, size)), (0, 0), 0.06 * size)
    picture = picture.astype(np.float32)
    corners, uv, triangles, begin = [], [], [], 0
    for part in model.objects.values():
        corners.append(part.vertex_of_corner)
        uv.append(part.uv)
        triangles.append(part.triangles + begin)
        begin += len(part.uv)
    at, places, faces = np.concatenate(corners), np.concatenate(uv), np.concatenate(triangles)
    normals = vertex_normals(vertices_mm, model.triangles)[at] @ turn.T
    turned = vertices_mm[at] @ turn.T
    flat = turned[:, :2] * (1, -1) * HEAD_PX_PER_MM * FINER + size * np.array([0.5, 0.45])
    raster = rasterize(flat, faces, (size, size), towards_viewer=turned[:, 2])
    where = raster.interpolate(places.astype(np.float32), faces)
    where = (where * (1, -1) + (0, 1)) * len(texture) - 0.5
    colors = cv2.remap(texture, where.astype(np.float32), None, cv2.INTER_LINEAR).astype(np.float32)
    light = rng.normal(0, 1, 3)
    light[2] = abs(light[2]) + 0.5
    light /= np.linalg.norm(light)
    shade = raster.interpolate(normals.astype(np.float32), faces) @ light.astype(np.float32)
    strength = rng.uniform(0.2, 0.7)
    lit = colors * (1.0 - 0.6 * strength + strength * np.maximum(shade, 0))[..., None]
    picture[raster.is_covered] = lit[raster.is_covered]
    small = cv2.resize(picture, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        small = np.repeat(small.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(small + rng.normal(0, 3, small.shape), 0, 255).astype(np.uint8)


def make(photos: Path, count: int, out: Path, pictures: Path | None) -> None:
    model, rng = IctModel.load(), np.random.default_rng(0)
    sources = textures(photos)
    rows: dict[str, list[np.ndarray]] = {}
    missed = 0
    for number in range(count):
        shape = rng.normal(size=len(model.identity_cm))
        expression = np.abs(rng.normal(0, EXPRESSION_SPREAD, len(model.expression_cm))).clip(0, 1)
        expression *= rng.random(len(expression)) < EXPRESSION_SHARE
        yaw = rng.normal(0, 12) if number % 3 else rng.uniform(-70, 70)
        turn = Rotation.from_euler("YXZ", [yaw, rng.normal(0, 7), rng.normal(0, 5)], degrees=True)
        vertices = 10.0 * model.vertices(shape, expression).astype(np.float64)
        behind, texture = sources[rng.integers(len(sources))]
        image = drawn(vertices, turn.as_matrix(), texture, behind, rng)
        if pictures is not None:
            save_png(pictures / f"{number:03}.png", image)
        inner = turn.apply(vertices)[model.landmark_vertices]
        truth = inner[:, :2] * (1, -1) * HEAD_PX_PER_MM + PICTURE_PX * np.array([0.5, 0.45])
        box = annotated_face(detect_faces(image), FaceBox(*bounding_box(truth)))
        if box is None:
            missed += 1
            continue
        found = predict_position_maps(image, [box])[0]
        for name, value in (
            ("shape", shape),
            ("expression", expression),
            ("truth_px", truth),
            ("yaw_deg", np.float64(yaw)),
            ("points", predict_landmarks(image, box)),
            ("map_px", found.map_px),
        ):
            rows.setdefault(name, []).append(value)
    np.savez_compressed(out, **{name: np.array(each) for name, each in rows.items()})
    print(json.dumps({"heads": len(rows["shape"]), "missed": missed}))


def fit(file: Path, asked: list[list[str]], every: int) -> None:
    model = IctModel.load().linear_mm
    heads = {name: value[::every] for name, value in np.load(file).items()}
    is_turned = np.abs(heads["yaw_deg"]) > 30
    still = np.zeros(len(model.expression_mm))
    wide = slice(17, None)
    for points in ("points", "map_px"):
        found = (
            heads["points"]
            if points == "points"
            else [landmarks_of(m)[:, :2] for m in heads["map_px"]]
        )
        errors = [
            normalised_mean_error(p[wide], t[wide])
            for p, t in zip(found, heads["truth_px"], strict=True)
        ]
        errors = np.array(errors)
        row = {"inner landmarks of": "dlib" if points == "points" else "map"}
        for name, part in (("to 30 degrees", ~is_turned), ("beyond", is_turned)):
            row[name] = round(float(np.median(errors[part])), 4)
        print(json.dumps(row))
    for texts in [[], *asked]:
        linear, dense = {}, {}
        choice = "auto"
        for text in texts:
            name, _, value = text.partition("=")
            if name == "landmarks":
                choice = value
            elif name.startswith("dense."):
                number = float(value)
                dense[name[6:]] = int(number) if name == "dense.grid" else number
            else:
                linear[name] = int(value) if name == "steps" else float(value)
        settings = replace(LinearFitSettings(), **linear)
        dense_settings = replace(DensePointSettings(), **dense)
        rows, spent = [], []
        for index in range(len(heads["shape"])):
            points, map_px = heads["points"][index], heads["map_px"][index]
            extra = None if choice == "alone" else dense_points_of(map_px, dense_settings)
            known = FacePoints(points, extra)
            limit = dense_settings.map_landmarks_from_yaw_deg
            if choice == "auto" and abs(heads["yaw_deg"][index]) >= limit:
                inner = landmarks_of(map_px)[:, :2].astype(np.float64)
                known = FacePoints(inner, extra, map_landmark_weights(dense_settings))
            start = time.process_time()
            found = fit_linear_face(model, [known], settings)
            spent.append(1e3 * (time.process_time() - start))
            shape, expression = heads["shape"][index], heads["expression"][index]
            pairs = (
                (model.vertices_mm(found.shape, still), model.vertices_mm(shape, still)),
                (
                    model.vertices_mm(found.shape, found.photos[0].expression),
                    model.vertices_mm(shape, expression),
                ),
                (model.mean_mm, model.vertices_mm(shape, expression)),
            )
            each = [distances_mm(*pair, model) for pair in pairs]
            rows.append([v for d in each for v in (np.median(d), d.mean())])
        table = np.array(rows)
        figures: dict[str, object] = {"settings": " ".join(texts) or "default"}
        for column, name in enumerate(("neutral", "posed", "mean_head")):
            for suffix, part in (("", ~is_turned), ("_turned", is_turned)):
                median, mean = table[part][:, 2 * column : 2 * column + 2].mean(axis=0)
                figures[name + suffix] = f"{median:.3f} / {mean:.3f}"
        figures["cpu_ms"] = round(float(np.median(spent)), 1)
        print(json.dumps(figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--photos", type=Path, required=True)
    making.add_argument("--heads", type=int, default=100)
    making.add_argument("--pictures", type=Path)
    making.add_argument("-o", "--output", type=Path, required=True)
    fitting = commands.add_parser("fit")
    fitting.add_argument("heads", type=Path)
    fitting.add_argument("--every", type=int, default=1)
    fitting.add_argument("--set", action="append", nargs="+", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    if given.command == "make":
        make(given.photos, given.heads, given.output, given.pictures)
    else:
        fit(given.heads, given.set, given.every)


if __name__ == "__main__":
    main()
