"""How unknown pixels are filled smoothly from known ones."""

from __future__ import annotations

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray


def push_pull(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Fill where weights are small from ever coarser averages of where they are large.

    Args:
        values: (H, W, C) float32.
        weights: (H, W) float32 in 0..1, how far each value is known.

    Returns:
        (H, W, C): `values` where the weight is 1, a smooth continuation where it is 0; all zero
        when nothing is known.

    Source: Gortler et al. 1996, "The Lumigraph", section 3.4.1 (pull-push).
    """
    if max(weights.shape) == 1:
        filled: FloatArray = values * (weights[..., None] > 0)
        return filled
    half = (max(weights.shape[1] // 2, 1), max(weights.shape[0] // 2, 1))
    mass = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(values * weights[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = weighted.reshape(*mass.shape, -1) / np.maximum(mass, 1e-8)[..., None]
    known = np.minimum(2.0 * mass, 1.0)  # half a cell of known pixels is enough to trust its mean
    below = push_pull(np.asarray(coarse, np.float32), np.asarray(known, np.float32))
    size = (weights.shape[1], weights.shape[0])
    smooth = cv2.resize(below, size, interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    blended: FloatArray = smooth + weights[..., None] * (values - smooth)
    return blended
