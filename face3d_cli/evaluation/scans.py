"""How far are real scans from the meshes made of their photos, in millimetres? NoW's protocol.

Source: Sanyal et al. 2019, "Learning to Regress 3D Face Shape and Expression from an Image without
3D Supervision" (RingNet), section 5: seven landmarks, similarity, ICP, scan-to-mesh distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from scipy.spatial import cKDTree

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage, Triangles
from face3d_cli.core.closest_point import Surface
from face3d_cli.core.similarity import Similarity, fit_similarity
from face3d_cli.errors import InputError, StageError, UnreadableInput
from face3d_cli.io.image import read_photo
from face3d_cli.pipeline.single import reconstruct
from face3d_cli.settings import ReconstructSettings

# Eye corners, nose base, mouth corners.
SEVEN = (36, 39, 42, 45, 33, 48, 54)
NOSE_BASE = SEVEN.index(33)
MEASURED_RADIUS_MM = 80.0  # around the scan's nose base
MAX_PIXELS_AWAY = 25.0  # a landmark farther from any vertex of the scan lies in a hole
OUTLIER_FACTOR, OUTLIER_MM = 2.5, 3.0
COARSE_POINTS = 250


@dataclass(frozen=True)
class Convergence:
    """When the alignment of a face and a scan ends.

    Attributes:
        moved_mm: no point moves any farther in a step,
        steps: or there were so many.
    """

    moved_mm: float = 0.01
    steps: int = 100


# To tell apart two meshes of one photo: the same mesh has the same median within 0.001 mm.
TIGHT = Convergence(0.0003, 1000)


@dataclass(frozen=True)
class Scan:
    """A scanned face and the photo registered with it.

    Attributes:
        vertices_mm: (V, 3).
        pixels: (V, 2) where the photo shows each vertex.
    """

    photo: Path
    vertices_mm: Points3
    pixels: Points2


@dataclass(frozen=True)
class PredictedFace:
    """A face made of a photo alone, in any frame and unit.

    Attributes:
        landmarks_px: (68, 2) in the photo.
        landmarks: (68, 3) the same on the mesh.
    """

    vertices: Points3
    triangles: Triangles
    landmarks: Points3
    landmarks_px: Points2


Predict = Callable[[RgbImage], PredictedFace]


def find_scans(folder: Path) -> list[Path]:
    """The .npz files that have a .jpg beside them.

    Raises:
        UnreadableInput: there is none.
    """
    scans = [path for path in sorted(folder.glob("*.npz")) if path.with_suffix(".jpg").is_file()]
    if not scans:
        raise UnreadableInput(
            f"no NAME.npz with a NAME.jpg beside it in {folder}",
            hint="give a folder of scans with `vertices_mm` and `pixels`",
        )
    return scans


def read_scan(path: Path) -> Scan:
    """Read `vertices_mm` and `pixels`.

    Raises:
        UnreadableInput: not a NumPy archive, or these are not in it.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            vertices = np.asarray(archive["vertices_mm"], np.float64)
            pixels = np.asarray(archive["pixels"], np.float64)
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as problem:
        raise UnreadableInput(f"{path} does not hold vertices_mm and pixels") from problem
    if vertices.shape[1:] != (3,) or pixels.shape != (len(vertices), 2) or len(vertices) < 6:
        raise UnreadableInput(
            f"{path}: expected (V, 3) vertices and (V, 2) pixels, "
            f"found {vertices.shape} and {pixels.shape}"
        )
    return Scan(path.with_suffix(".jpg"), vertices, pixels)


def evaluate_scans(
    folder: Path,
    settings: ReconstructSettings = ReconstructSettings(texture=None),
    *,
    predict: Predict | None = None,
    convergence: Convergence = Convergence(),
    on_scan: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Reconstruct the face of every scan's photo and measure the scan against it.

    Args:
        folder: NAME.npz with NAME.jpg beside it.
        settings: how faces are reconstructed.
        predict: another way to do so, to compare with.
        convergence: when the alignment ends.
        on_scan: called after every scan.

    Returns:
        `median_of_medians_mm` and `mean_of_means_mm` over the scans (None when all were skipped),
        `per_scan` (name, median_mm, mean_mm, vertices) and `skipped` (name, reason).

    Raises:
        UnreadableInput: not such a folder, or a damaged file.
        ModelError: a model is missing.
    """
    predict = predict or (lambda image: predict_face(image, settings))
    paths = find_scans(folder)
    measured: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for done, path in enumerate(paths, start=1):
        scan = read_scan(path)
        image = read_photo(scan.photo, settings.image)
        try:
            distances = scan_to_mesh_mm(scan, predict(image), convergence)
        except UnreadableInput:
            raise
        except (InputError, StageError) as problem:
            skipped.append({"scan": path.stem, "reason": str(problem)})
        else:
            measured.append(
                {
                    "scan": path.stem,
                    "median_mm": float(np.median(distances)),
                    "mean_mm": float(distances.mean()),
                    "vertices": len(distances),
                }
            )
        on_scan(done, len(paths))
    return {
        "scans": len(paths),
        "median_of_medians_mm": _over(np.median, [row["median_mm"] for row in measured]),
        "mean_of_means_mm": _over(np.mean, [row["mean_mm"] for row in measured]),
        "per_scan": measured,
        "skipped": skipped,
    }


def predict_face(image: RgbImage, settings: ReconstructSettings) -> PredictedFace:
    """The largest face of a photo, as `face3d reconstruct` makes it.

    Of a whole head (`--method ict`) it is the face: scans are of skin, and a point of theirs must
    not find a tooth, an eyeball's back or the skull behind the forehead nearer.
    """
    face = reconstruct(image, settings).faces[0]
    vertices, triangles = face.face_part()
    return PredictedFace(vertices, triangles, face.landmarks_3d_m, face.landmarks_px)


def scan_to_mesh_mm(
    scan: Scan, face: PredictedFace, convergence: Convergence = Convergence()
) -> FloatArray:
    """Distances of the scan's vertices near the nose base to the aligned surface, in millimetres.

    Raises:
        InputError: a landmark lies where the scan has a hole.
        StageError: the two cannot be aligned.
    """
    seven_mm = seven_points_mm(scan, face.landmarks_px)
    nose_base_mm = seven_mm[NOSE_BASE]
    near = np.linalg.norm(scan.vertices_mm - nose_base_mm, axis=1) <= MEASURED_RADIUS_MM
    points_mm = scan.vertices_mm[near]
    surface = Surface(face.vertices, face.triangles)
    start = fit_similarity(face.landmarks[list(SEVEN)], seven_mm)
    aligned = refine_by_icp(start, surface, points_mm, convergence)
    _, distances = surface.closest(aligned.undo(points_mm))
    return distances * aligned.scale


def seven_points_mm(scan: Scan, landmarks_px: Points2) -> Points3:
    """(7, 3) the seven landmarks on the scan, each the median of its six nearest vertices.

    Raises:
        InputError: one of them is farther than `MAX_PIXELS_AWAY`.
    """
    away_px, nearest = cKDTree(scan.pixels).query(landmarks_px[list(SEVEN)], k=6)
    worst = int(away_px[:, -1].argmax())
    if away_px[worst, -1] > MAX_PIXELS_AWAY:
        raise InputError(
            f"the scan has a hole at landmark {SEVEN[worst]} "
            f"({away_px[worst, -1]:.0f} px to its vertices, at most {MAX_PIXELS_AWAY:.0f})"
        )
    seven: Points3 = np.median(scan.vertices_mm[nearest], axis=1)
    return seven


def refine_by_icp(
    start: Similarity,
    surface: Surface,
    points_mm: Points3,
    convergence: Convergence = Convergence(),
) -> Similarity:
    """Iterative closest points with scale, from the surface's frame to the scan's millimetres.

    Each step leaves out the points farther than 2.5 times the median distance, and never those
    within 3 mm. It ends when no point moves any more, as `convergence` says, first for some of the
    points, then from there for all of them.
    Source: Besl & McKay 1992, trimmed as in Zhang 1994.
    """
    aligned = start
    for some_mm in (points_mm[:: max(1, len(points_mm) // COARSE_POINTS)], points_mm):
        for _ in range(convergence.steps):
            nearest, distances = surface.closest(aligned.undo(some_mm))
            away_mm = distances * aligned.scale
            kept = away_mm <= max(OUTLIER_FACTOR * float(np.median(away_mm)), OUTLIER_MM)
            better = fit_similarity(nearest[kept], some_mm[kept])
            moved_mm = np.abs(better.apply(nearest) - aligned.apply(nearest)).max()
            aligned = better
            if moved_mm < convergence.moved_mm:
                break
    return aligned


def _over(total: Callable[[list[float]], Any], values: list[float]) -> float | None:
    return float(total(values)) if values else None
