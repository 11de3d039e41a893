"""The slow twin of `core/closest_point.py`: every triangle for every point, by minimisation."""

from __future__ import annotations

import numpy as np


def naive_closest(
    points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) nearest points and (N,) distances, one triangle at a time."""
    nearest, distances = np.empty_like(points), np.full(len(points), np.inf)
    for index, point in enumerate(points):
        for corners in vertices[triangles]:
            candidate = _on_triangle(point, *corners)
            distance = float(np.linalg.norm(candidate - point))
            if distance < distances[index]:
                nearest[index], distances[index] = candidate, distance
    return nearest, distances


def _on_triangle(point: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The foot on the plane when its barycentric coordinates are positive, else on an edge."""
    plane = np.column_stack([b - a, c - a])
    if np.linalg.matrix_rank(plane, tol=1e-9) == 2:
        v, w = np.linalg.lstsq(plane, point - a, rcond=None)[0]
        if v >= 0 and w >= 0 and v + w <= 1:
            return a + v * (b - a) + w * (c - a)
    edges = [_on_segment(point, *edge) for edge in ((a, b), (b, c), (c, a))]
    return min(edges, key=lambda candidate: float(np.linalg.norm(candidate - point)))


def _on_segment(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(end - start))
    if length == 0:
        return start
    direction = (end - start) / length
    return start + direction * min(max(float((point - start) @ direction), 0.0), length)
