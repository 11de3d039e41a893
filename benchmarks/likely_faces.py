"""What does bringing maps to likely faces do to held-out training samples?

    python benchmarks/likely_faces.py SAMPLES --weights prnet-resnet18.safetensors [--noise-mm 0.3]

Every map is compared with its sample's own: its shape (millimetres, root mean square over the face
after alignment) and its landmarks (percent of sqrt(w h) of their box; jaw and inner ones), as the
network draws it and with each `--noise-mm`. Samples are seen as they are, once, without the mirror.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from face3d_cli.arrays import FloatArray
from face3d_cli.core.landmarks68 import JAW, bounding_box
from face3d_cli.core.position_map import NECK_BELOW_V, landmarks_of
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.networks.prnet import load_prnet
from face3d_cli.settings import PositionMapSettings, PositionMapTrainingSettings
from face3d_cli.stages.shape_prior import ShapePrior
from face3d_cli.training.prnet import moved_sample, split_held_out
from face3d_cli.training.synth.folder import SampleFolder

UP = np.array([1.0, -1.0, 1.0], np.float32)
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--noise-mm", type=float, nargs="+", default=[PositionMapSettings.noise_mm])
    asked = parser.parse_args()
    samples = SampleFolder.open(asked.samples)
    _, held = split_held_out(samples, PositionMapTrainingSettings.held_out_share)
    network = load_prnet(asked.weights)
    prior = ShapePrior(
        network.shapes.numpy(), network.shape_mean.numpy(), network.shape_modes.numpy(),
        samples.valid, network.config.perspective,
    )  # fmt: skip
    size = network.config.input_px
    face = samples.valid.copy()
    face[1 - (np.arange(len(face)) + 0.5) / len(face) < NECK_BELOW_V] = False
    rows: dict[str, list[list[float]]] = {}
    for start in range(0, len(held), BATCH):
        indices = held[start : start + BATCH]
        pairs = [
            moved_sample(
                samples.image(int(i)), samples.position_map(int(i)), size / 128, 0.0,
                np.zeros(2), size,
            )
            for i in indices
        ]  # fmt: skip
        pictures = torch.from_numpy(np.stack([picture for picture, _ in pairs]))
        with torch.inference_mode():
            drawn = network(pictures.permute(0, 3, 1, 2).float().div_(255)).float() * size
        for index, map_px, (_, true_px) in zip(
            indices, drawn.permute(0, 2, 3, 1).numpy(), pairs, strict=True
        ):
            mm_per_px = 10 / samples.px_per_cm * 128 / size
            kind = "turned" if samples.is_turned[index] else "photos"
            tried = {"as drawn": map_px} | {
                f"{noise} mm": prior.nearest(map_px * UP, noise).map * UP
                for noise in asked.noise_mm
            }
            for way, each in tried.items():
                rows.setdefault(f"{kind}, {way}", []).append(
                    [mm_per_px * shape_error(each, true_px, face), *nme(each, true_px)]
                )
    for name, errors in sorted(rows.items()):
        shape_mm, jaw, inner = np.mean(errors, axis=0).round(2).tolist()
        line = {"what": name, "samples": len(errors), "shape_mm": shape_mm}
        print(json.dumps({**line, "jaw_percent": jaw, "inner_percent": inner}))


def shape_error(map_px: FloatArray, true_px: FloatArray, face: FloatArray) -> float:
    """Root mean square distance over the face after alignment, in the true map's unit."""
    ours, theirs = (np.asarray(each[face] * UP, np.float64) for each in (map_px, true_px))
    away = fit_similarity(ours, theirs).apply(ours) - theirs
    return float(np.sqrt((away**2).sum(axis=1).mean()))


def nme(map_px: FloatArray, true_px: FloatArray) -> tuple[float, float]:
    """Mean distance of jaw and inner landmarks, in percent."""
    true = landmarks_of(true_px)[:, :2]
    _, _, width, height = bounding_box(true)
    away = 100 * np.linalg.norm(landmarks_of(map_px)[:, :2] - true, axis=1)
    away /= np.sqrt(width * height)
    return float(away[JAW].mean()), float(away[JAW.stop :].mean())


if __name__ == "__main__":
    main()
