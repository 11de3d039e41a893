"""A small folder of training samples whose pictures tell their maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.helpers.position_maps import canonical_face_cm, outline, turn_about_y


def write_samples(
    folder: Path, *, count: int, parts: int = 1, map_px: int = 16, closeness_per_cm: float = 0.0
) -> None:
    """Faces at random yaws; a bright disc is drawn at the nose, so that something can be learnt."""
    rng = np.random.default_rng(0)
    mean = canonical_face_cm(map_px)
    basis = rng.normal(0, 0.1, (3, map_px, map_px, 3)).astype(np.float16)
    valid = np.ones((map_px, map_px), bool)
    np.savez(
        folder / "surface.npz",
        mean_cm=mean, basis_cm=basis, valid=valid, valid_fine=outline(), px_per_cm=np.float64(5.82),
    )  # fmt: skip
    rows, columns = np.mgrid[:160, :160]
    for part in range(parts):
        yaws = rng.uniform(-60, 60, count)
        rotation = np.stack([turn_about_y(yaw) for yaw in yaws]).astype(np.float32)
        shift = np.column_stack([*rng.uniform(70, 90, (2, count)), np.zeros(count)])
        images = rng.integers(0, 40, (count, 160, 160, 3)).astype(np.uint8)
        for image, turn, at in zip(images, rotation, shift, strict=True):
            nose = (mean[map_px * 42 // 100, map_px // 2] @ turn.T) * (5.82, -5.82, 5.82) + at
            image[np.hypot(columns - nose[0], rows - nose[1]) < 12] = 255
        np.save(folder / f"part-{part:03d}.images.npy", images)
        np.savez(
            folder / f"part-{part:03d}.faces.npz",
            names=np.array([f"person{part}_{i:02d}.jpg" for i in range(count)]),
            coefficients=rng.normal(0, 1, (count, 3)).astype(np.float32),
            rotation=rotation,
            shift_px=shift.astype(np.float32),
            closeness_per_cm=np.full(count, closeness_per_cm),
            yaw_deg=yaws,
            is_turned=np.arange(count) % 2 == 1,
        )
