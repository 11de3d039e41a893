"""Does `--refine` make shapes better, and how often worse?

    python benchmarks/refine.py rendered --truth FACESYNTHETICS [--faces 48 [--skip N]]
        [--set spread=0.2]
    python benchmarks/refine.py scans SCANS [--every N]

`rendered` is what the settings are chosen by: random ICT-FaceKit faces (`face3d models pull
ict-facekit`) under a random light with cast shadows and highlights, painted, or with the skin of
FaceSynthetics' photos, from which the light was taken out as well as it can be. Our landmarks'
errors in those photos are added to the true points; then the Surrey model is fitted, refined, and
measured as `face3d evaluate scans` measures. `scans` does the same with real scans, which choose
nothing. Both print medians and means with and without refining, in millimetres, and the share of
faces that are no worse: at all, and by more than 0.01 mm; faces that were left as they were are no
worse. Alignments are run until no point moves by 0.0003 mm, before and after alike: with the usual
0.01 mm the same mesh's median changes by as much as refining changes it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch.nn.functional import normalize

from face3d_cli.core.closest_point import Surface
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.ict_topology import LANDMARK_VERTICES
from face3d_cli.core.landmarks68 import bounding_box, normalised_mean_error, roll_rad
from face3d_cli.core.segmentation_classes import FACE_SKIN, mask_of, visible_skin_mask
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.diff import cameras
from face3d_cli.diff.fragments import interpolate
from face3d_cli.diff.lighting import DirectionalLight, blinn_phong, lambert
from face3d_cli.diff.normals import vertex_normals
from face3d_cli.diff.rasterize import rasterize
from face3d_cli.diff.shading import estimate_light, linear_to_srgb, shading, srgb_to_linear
from face3d_cli.diff.shadows import light_visibility
from face3d_cli.evaluation.landmarks import annotated_face
from face3d_cli.evaluation.scans import (
    MEASURED_RADIUS_MM,
    NOSE_BASE,
    SEVEN,
    TIGHT,
    evaluate_scans,
    find_scans,
    refine_by_icp,
)
from face3d_cli.io.image import read_photo
from face3d_cli.settings import (
    DetectionSettings,
    ReconstructSettings,
    RefineSettings,
    TextureSettings,
)
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.morphable import fit_surrey, load_surrey
from face3d_cli.stages.refine import LUMINANCE, refine_by_shading
from face3d_cli.stages.segmentation import segment_photo
from face3d_cli.stages.texture import bake_texture

PHOTO_PX, TEXTURE_PX = 320, 256
NUM_FACE_VERTICES = 9409  # ICT's face, ears and the front of its neck
TOLERANCE_MM = 0.01
NOISE = 0.7  # of FaceSynthetics' errors: its photos are darker and more turned than most


@dataclass(frozen=True)
class Skin:
    """What a face is covered with: linear albedo (T, T, 3), and where it is skin (T, T)."""

    albedo: np.ndarray
    share: np.ndarray


def skins_and_errors(folder: Path) -> tuple[list[Skin], np.ndarray]:
    """Skins of near-frontal photos in Surrey's UV, and (N, 68, 2) landmark errors over the size."""
    skins, errors = [], []
    for path in sorted(folder.glob("*_ldmks.txt")):
        truth = np.loadtxt(path)[:68]
        image = read_photo(path.with_name(path.name.replace("_ldmks.txt", ".jpg")))
        found = detect_faces(image, DetectionSettings(detector="hog"))
        box = annotated_face(found, FaceBox(*bounding_box(truth)))
        if box is None or (box.score or 0.0) < 0.2:
            continue
        points = predict_landmarks(image, box)
        if normalised_mean_error(points, truth) > 0.06:
            continue
        turn = Rotation.from_euler("z", -roll_rad(truth)).as_matrix()[:2, :2]
        errors.append((points - truth) @ turn.T / size_of(truth))
        skin = skin_of(image, truth, box)
        if skin is not None:
            skins.append(skin)
    return skins, np.array(errors) - np.mean(errors, axis=0)


def size_of(points: np.ndarray) -> float:
    _, _, width, height = bounding_box(points)
    return float(np.sqrt(width * height))


def skin_of(image: np.ndarray, points: np.ndarray, box: FaceBox) -> Skin | None:
    """The albedo under a face's texture; None where too little of it is seen."""
    labels = segment_photo(image, faces=[box]).labels
    fit = fit_surrey(points, image.shape[:2])
    vertices, settings = fit.posed_vertices_mm, TextureSettings(size_px=TEXTURE_PX)
    usable = visible_skin_mask(labels).astype(np.float32)
    baked = bake_texture(image, vertices, fit.triangles, fit.uv, fit.camera, settings, usable)
    atlas = UvAtlas(fit.uv, fit.triangles, TEXTURE_PX)
    at = atlas.bake(fit.camera.project(vertices))
    bare = mask_of(labels, FACE_SKIN).astype(np.float32)
    share = cv2.remap(bare, at, None, cv2.INTER_LINEAR) * baked.visibility
    corners = torch.from_numpy(fit.triangles.astype(np.int64))
    on_vertices = vertex_normals(torch.from_numpy(vertices)[None], corners)[0].numpy()
    normals = normalize(torch.from_numpy(atlas.bake(on_vertices)), dim=2)
    linear = srgb_to_linear(torch.from_numpy(baked.image.astype(np.float32) / 255))
    certain = torch.from_numpy(share > 0.8)
    if baked.visible_share < 0.35 or int(certain.sum()) < 500:
        return None
    light = estimate_light(normals[certain], (linear @ linear.new_tensor(LUMINANCE))[certain])
    albedo = linear / shading(normals, light)
    return Skin(albedo.numpy(), np.maximum(share, share[:, ::-1]))


def painted(skin: Skin, rng: np.random.Generator) -> Skin:
    """One colour with spots of three sizes; what is not skin is dark."""
    spots = np.zeros((TEXTURE_PX, TEXTURE_PX))
    for blur, strength in ((2, 0.05), (8, 0.07), (30, 0.12)):
        noise = cv2.GaussianBlur(rng.normal(size=spots.shape), (0, 0), blur)
        spots += strength * noise / noise.std()
    color = rng.uniform(0.15, 0.6) * np.array([1.15, 0.85, 0.7])
    dark = 0.45 + 0.55 * skin.share[..., None]
    return Skin((color * np.exp(spots)[..., None] * dark).astype(np.float32), skin.share)


@dataclass(frozen=True)
class People:
    """ICT's faces in millimetres, and where they lie in Surrey's UV square."""

    neutral: np.ndarray
    shapes: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    landmarks: np.ndarray


def people() -> People:
    ict, surrey = IctModel.load(), load_surrey()
    neutral = 10.0 * np.asarray(ict.neutral_cm[:NUM_FACE_VERTICES], float)
    shapes = 10.0 * np.asarray(ict.identity_cm[:, :NUM_FACE_VERTICES], float)
    landmarks = np.array(LANDMARK_VERTICES)
    points = neutral[landmarks][:, :2] * (1, -1)
    points = 500 * points / size_of(points)
    fit = fit_surrey(points - points.min(axis=0) + 250, (1000, 1000))
    inner = range(17, 68)
    move = fit_similarity(fit.landmarks_mm[inner], neutral[landmarks[inner]])
    laid = move.apply(fit.vertices_mm)
    nearest, _ = Surface(laid, surrey.triangles).closest(neutral)
    away, corner = cKDTree(laid).query(nearest, k=4)
    weights = 1 / (away + 1e-3) ** 2
    uv = (surrey.uv[corner] * (weights / weights.sum(axis=1, keepdims=True))[..., None]).sum(axis=1)
    inside = (ict.triangles < NUM_FACE_VERTICES).all(axis=1)
    return People(neutral, shapes, ict.triangles[inside].astype(np.int64), uv, landmarks)


def photograph(
    vertices: np.ndarray, who: People, skin: Skin, rng: np.random.Generator, *, flash: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(S, S, 3) photo under one lamp and a sky, (S, S) share of skin, (68, 2) true points."""
    turn = Rotation.from_euler("xy", rng.normal(0, (8, 12)), degrees=True).as_matrix()
    rotation, corners = torch.from_numpy(turn), torch.from_numpy(who.triangles)
    shape = torch.from_numpy(vertices)
    turned = (shape @ rotation.T)[:, :2]
    low, high = turned.amin(0), turned.amax(0)
    scale = 0.95 * PHOTO_PX / (high - low).max()
    shift = (PHOTO_PX - 1) / 2 - scale * (low + high) / 2 * torch.tensor([1.0, -1.0])
    camera = cameras.ScaledOrthographicCamera(rotation, scale, shift)
    points = camera.project(shape[None])
    seen = rasterize(points, corners, PHOTO_PX, PHOTO_PX)
    normals = normalize(interpolate(vertex_normals(shape[None], corners), seen), dim=1)
    places = interpolate(shape[None], seen)
    texels = interpolate(torch.from_numpy(who.uv)[None], seen).numpy()
    at = seen.to_image(torch.from_numpy((texels * (1, -1) + (0, 1)) * TEXTURE_PX - 0.5), -1e3)
    at = at[0].numpy().astype(np.float32)
    albedo = torch.from_numpy(cv2.remap(skin.albedo, at, None, cv2.INTER_LINEAR)).double()
    albedo = albedo.reshape(-1, 3)[seen.pixel]
    if flash:
        direction = np.array([*rng.normal((0, 0.1), 0.12), 1.0])
        lamp, sky = rng.uniform(0.7, 1.0), rng.uniform(0.05, 0.3)
    else:
        direction = Rotation.from_euler(
            "xy", (-rng.uniform(-10, 60), rng.uniform(-70, 70)), degrees=True
        ).apply((0, 0, 1))
        lamp, sky = rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.7)
    light = DirectionalLight(rotation.T @ torch.from_numpy(direction), torch.ones(3))
    towards = light.towards(places)
    lit = light_visibility(places, seen.batch_item, shape[None], corners, light)
    up = rotation.T @ normalize(torch.tensor([0.0, 1.0, 0.3]).double(), dim=0)
    diffuse = sky * (0.7 + 0.3 * (normals @ up)[:, None]) + lamp * lit * lambert(normals, towards)
    shine = blinn_phong(normals, towards, camera.towards_camera(places, seen.batch_item), 12.0)
    color = albedo * diffuse + rng.uniform(0.01, 0.07) * lamp * lit * shine
    color = linear_to_srgb(color / diffuse.mean() * rng.uniform(0.7, 1.1))
    picture = cv2.GaussianBlur(seen.to_image(color, 0.05)[0].numpy(), (0, 0), 0.7)
    picture += rng.normal(0, 0.012, picture.shape)
    photo = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    share = cv2.remap(skin.share.astype(np.float32), at, None, cv2.INTER_LINEAR)
    return photo, share, points[0, who.landmarks, :2].numpy()


def distances_mm(truth: np.ndarray, who: People, vertices: np.ndarray, seven: np.ndarray) -> Any:
    """Every twelfth vertex near the nose base, to the aligned fit: median and mean."""
    at = truth[who.landmarks[list(SEVEN)]]
    near = np.linalg.norm(truth - at[NOSE_BASE], axis=1) <= MEASURED_RADIUS_MM
    some = truth[near][::12]
    surface = Surface(vertices, load_surrey().triangles)
    aligned = refine_by_icp(fit_similarity(seven, at), surface, some, TIGHT)
    away = surface.closest(aligned.undo(some))[1] * aligned.scale
    return np.median(away), away.mean()


def rendered(asked: argparse.Namespace) -> None:
    settings = replace(
        RefineSettings(), **{k: float(v) for k, v in (each.split("=") for each in asked.set)}
    )
    skins, errors = skins_and_errors(asked.truth)
    who = people()
    basis = load_surrey().shape_basis_mm
    for kind in ("painted", "photographed"):
        rng = np.random.default_rng(0)
        before, after = [], []
        for index in range(asked.faces):
            face = rng.normal(size=len(who.shapes))
            vertices = who.neutral + np.tensordot(face, who.shapes, axes=1)
            skin = skins[rng.integers(len(skins))]
            if kind == "painted":
                skin = painted(skin, rng)
            photo, share, points = photograph(vertices, who, skin, rng, flash=index % 2 == 0)
            points = points + NOISE * errors[rng.integers(len(errors))] * size_of(points)
            if index < asked.skip:
                continue
            fit = fit_surrey(points, photo.shape[:2])
            found = refine_by_shading(
                photo, share, fit.posed_vertices_mm, fit.triangles, basis, fit.camera, settings
            )
            moved, at = found.displacement_mm, list(fit.landmark_vertices)
            seven = fit.landmarks_mm[list(SEVEN)]
            before.append(distances_mm(vertices, who, fit.vertices_mm, seven))
            seven = (fit.landmarks_mm + moved[at])[list(SEVEN)]
            after.append(distances_mm(vertices, who, fit.vertices_mm + moved, seven))
        print(json.dumps({"skin": kind, **compared(np.array(before), np.array(after))}), flush=True)


def scans(asked: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as chosen:
        for path in find_scans(asked.folder)[:: asked.every]:
            for file in (path, path.with_suffix(".jpg")):
                (Path(chosen) / file.name).symlink_to(file.resolve())
        plain = ReconstructSettings(method="surrey", texture=None)
        reports = [
            evaluate_scans(Path(chosen), settings, convergence=TIGHT)
            for settings in (plain, replace(plain, refine=RefineSettings()))
        ]
    rows = [{row["scan"]: row for row in report["per_scan"]} for report in reports]
    common = sorted(rows[0].keys() & rows[1].keys())
    both = [np.array([(r[n]["median_mm"], r[n]["mean_mm"]) for n in common]) for r in rows]
    skipped = [len(report["skipped"]) for report in reports]
    print(json.dumps({"scans": len(common), "skipped": skipped, **compared(*both)}))


def compared(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """What (N, 2) medians and means of faces say before and after."""
    change = after - before
    return {
        "median_of_medians_mm": [round(float(np.median(x[:, 0])), 4) for x in (before, after)],
        "mean_of_means_mm": [round(float(x[:, 1].mean()), 4) for x in (before, after)],
        "median_change_mm": np.median(change, axis=0).round(4).tolist(),
        "displaced": round(float((change != 0).any(axis=1).mean()), 3),
        "no_worse": (change <= 0).mean(axis=0).round(3).tolist(),
        "no_worse_by_0.01_mm": (change <= TOLERANCE_MM).mean(axis=0).round(3).tolist(),
        "worst_mm": change.max(axis=0).round(3).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("rendered")
    one.add_argument("--truth", type=Path, required=True)
    one.add_argument("--faces", type=int, default=48)
    one.add_argument("--skip", type=int, default=0, help="draw so many, and do not measure them")
    one.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    one.set_defaults(run=rendered)
    other = commands.add_parser("scans")
    other.add_argument("folder", type=Path)
    other.add_argument("--every", type=int, default=1, help="only every N-th scan")
    other.set_defaults(run=scans)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
