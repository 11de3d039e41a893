"""Losses written by hand with Python loops, for one mesh or point set at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def nearest(point: Array, others: Array) -> int:
    return min(range(len(others)), key=lambda i: float(np.sum((point - others[i]) ** 2)))


def chamfer(points: Array, others: Array) -> float:
    there = [float(np.sum((p - others[nearest(p, others)]) ** 2)) for p in points]
    back = [float(np.sum((q - points[nearest(q, points)]) ** 2)) for q in others]
    return sum(there) / len(there) + sum(back) / len(back)


def normal_errors(
    points: Array, normals: Array, others: Array, other_normals: Array
) -> list[float]:
    found = []
    for point, normal in zip(points, normals, strict=True):
        other = other_normals[nearest(point, others)]
        cosine = float(np.dot(normal, other) / np.linalg.norm(normal) / np.linalg.norm(other))
        found.append(1 - abs(cosine))
    return found


def edges(triangles: Index) -> dict[tuple[int, int], list[int]]:
    """Edge to the numbers of its triangles."""
    found: dict[tuple[int, int], list[int]] = {}
    for number, (a, b, c) in enumerate(triangles.tolist()):
        for p, q in ((a, b), (b, c), (c, a)):
            found.setdefault((min(p, q), max(p, q)), []).append(number)
    return dict(sorted(found.items()))


def unit_normal(vertices: Array, triangle: Index) -> Array:
    a, b, c = vertices[triangle]
    normal = np.cross(b - a, c - a)
    return normal / np.linalg.norm(normal)


def normal_inconsistency(vertices: Array, triangles: Index) -> list[float]:
    return [
        1
        - float(
            np.dot(unit_normal(vertices, triangles[t[0]]), unit_normal(vertices, triangles[t[1]]))
        )
        for t in edges(triangles).values()
        if len(t) == 2
    ]


def angle_cotangent(vertices: Array, triangle: list[int], edge: tuple[int, int]) -> float:
    (third,) = set(triangle) - set(edge)
    one, two = vertices[edge[0]] - vertices[third], vertices[edge[1]] - vertices[third]
    cosine = np.dot(one, two) / np.linalg.norm(one) / np.linalg.norm(two)
    return 1 / math.tan(math.acos(cosine))


def laplacian(vertices: Array, triangles: Index, *, cotangent: bool) -> Array:
    sums, totals = np.zeros_like(vertices), np.zeros(len(vertices))
    for (a, b), owners in edges(triangles).items():
        weight = 1.0
        if cotangent:
            weight = sum(angle_cotangent(vertices, triangles[t].tolist(), (a, b)) for t in owners)
        sums[a] += weight * vertices[b]
        sums[b] += weight * vertices[a]
        totals[a] += weight
        totals[b] += weight
    return sums / totals[:, None] - vertices


def quadric_error(point: Array, vertices: Array, triangles: Index) -> float:
    """With homogeneous 4 x 4 quadrics, as the paper writes it."""
    vertex = nearest(point, vertices)
    quadric = np.zeros((4, 4))
    for triangle in triangles:
        if vertex in triangle:
            normal = unit_normal(vertices, triangle)
            plane = np.append(normal, -np.dot(normal, vertices[vertex]))
            quadric += np.outer(plane, plane)
    homogeneous = np.append(point, 1.0)
    return float(homogeneous @ quadric @ homogeneous)


def ssim_at(image: Array, target: Array, row: int, column: int) -> float:
    """Structural similarity of two grey pictures at one place away from the border."""
    at = np.arange(-5, 6)
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    window /= window.sum()
    a = image[row - 5 : row + 6, column - 5 : column + 6]
    b = target[row - 5 : row + 6, column - 5 : column + 6]
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
    covariance = (window * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 0.01**2, 0.03**2
    return float(
        (2 * mean_a * mean_b + c1)
        * (2 * covariance + c2)
        / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    )
