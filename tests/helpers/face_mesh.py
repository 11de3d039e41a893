"""A face-like mesh that shows its orientation: a nose, a lettered texture, two blendshapes."""

from __future__ import annotations

import cv2
import numpy as np

from face3d_cli.core.mesh import Mesh


def lettered_texture(size_px: int = 256) -> np.ndarray:
    """Forehead red, chin blue, subject's left green, right yellow; letters tell mirroring."""
    picture = np.full((size_px, size_px, 3), (224, 188, 160), np.uint8)
    band = size_px // 8
    picture[:band] = (200, 40, 40)
    picture[-band:] = (40, 60, 200)
    picture[band:-band, -band:] = (40, 160, 70)
    picture[band:-band, :band] = (220, 200, 40)
    for text, u, v in (("TOP", 0.36, 0.8), ("L", 0.75, 0.5), ("R", 0.18, 0.5), ("CHIN", 0.3, 0.2)):
        at = (int(u * size_px), int((1 - v) * size_px))
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size_px / 256, (0, 0, 0), 2)
    return picture


def face_mesh(
    columns: int = 24, rows: int = 32, *, texture_px: int = 256, name: str = "face"
) -> Mesh:
    """A 0.16 m wide, 0.22 m high mask in the head frame, metres; u runs to the subject's left."""
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    u, v = u.ravel(), v.ravel()
    angle = (u - 0.5) * 2.6
    lift = (v - 0.5) * 2.0
    radius = np.sqrt(1 - 0.7 * lift**2)
    vertices = np.stack(
        [0.08 * np.sin(angle) * radius, 0.11 * lift, 0.08 * np.cos(angle) * radius - 0.05], axis=1
    )
    nose = np.exp(-(((u - 0.5) / 0.06) ** 2) - ((v - 0.48) / 0.1) ** 2)
    vertices[:, 2] += 0.03 * nose
    grid = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    ).astype(np.int32)
    jaw = np.zeros_like(vertices)
    jaw[:, 1] = -0.03 * np.clip(0.4 - v, 0, None)
    smile = np.zeros_like(vertices)
    smile[:, 0] = 0.01 * np.sign(u - 0.5) * np.exp(-(((v - 0.3) / 0.1) ** 2))
    return Mesh(
        vertices=vertices,
        triangles=triangles,
        uv=np.stack([u, v], axis=1),
        texture=lettered_texture(texture_px) if texture_px else None,
        blendshapes={"jaw open": jaw, "Lächeln": smile},
        name=name,
    )


def random_colors(mesh: Mesh, seed: int = 0) -> np.ndarray:
    """(V, 3) uint8 colours; with 256 vertices and more, every level from 0 to 255 is among them."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (len(mesh.vertices), 3), dtype=np.uint8)
    every = np.arange(min(256, len(levels)), dtype=np.uint8)
    levels[: len(every)] = every[:, None]
    return levels
