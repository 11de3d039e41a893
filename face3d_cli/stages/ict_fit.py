"""Which ICT-FaceKit head is this, in the head frame? The linear fit and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from face3d_cli.arrays import FloatArray, Indices, Points3
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import EYE_CORNERS
from face3d_cli.settings import LinearFitSettings
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face


@dataclass(frozen=True)
class IctFit:
    """A fitted head in millimetres, in the head frame: origin between the eyes.

    Attributes:
        identity: (100,) in standard deviations.
        expression: weight by name, in 0..1.
        neutral_mm: (V, 3) the person without expression.
        posed_mm: (V, 3) as in the photo.
        camera: projects head-frame millimetres into the photo.
        landmark_vertices: (68,) where the landmarks are; the jaw's on the outline of this pose.
        fit_error_px: mean distance of the projected landmarks to the given ones.
    """

    identity: FloatArray
    expression: dict[str, float]
    neutral_mm: Points3
    posed_mm: Points3
    camera: ScaledOrthographicCamera
    landmark_vertices: Indices
    fit_error_px: float

    def coefficients(self) -> dict[str, Any]:
        """As the report shows them."""
        return {
            "shape": [round(value, 6) for value in self.identity.tolist()],
            "expression": {name: round(value, 6) for name, value in self.expression.items()},
        }


def fit_ict(
    photos: Sequence[FacePoints], settings: LinearFitSettings = LinearFitSettings()
) -> list[IctFit]:
    """Fit one person's head to one or several photos.

    Args:
        photos: the person's points in each photo.
        settings: noise of the points and priors.

    Returns:
        One fit for each photo; `identity` and `neutral_mm` are alike in all.

    Raises:
        ModelError: ICT-FaceKit is missing or damaged.
        StageError: the landmarks of a photo hold no face.
    """
    model = IctModel.load()
    fit = fit_linear_face(model.linear_mm, photos, settings)
    neutral = 10.0 * model.vertices(fit.shape).astype(np.float64)
    corners = model.landmark_vertices[list(EYE_CORNERS)]
    origin = neutral[corners].mean(axis=0)
    fits = []
    for photo in fit.photos:
        delta = np.tensordot(photo.expression, model.expression_cm, axes=1)
        fits.append(
            IctFit(
                identity=fit.shape,
                expression=dict(
                    zip(model.expression_names, photo.expression.tolist(), strict=True)
                ),
                neutral_mm=neutral - origin,
                posed_mm=neutral + 10.0 * delta - origin,
                camera=photo.camera.with_origin(origin),
                landmark_vertices=photo.landmark_vertices,
                fit_error_px=photo.fit_error_px,
            )
        )
    return fits
