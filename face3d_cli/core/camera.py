"""How head-frame points become image pixels, and what the angles of a head are called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3, check_shape

NEAREST = 0.1  # of the way to the pinhole: points do not come nearer than that


def enlargement(depth: FloatArray, closeness: float | FloatArray) -> FloatArray:
    """How many times larger things appear than they would at depth 0.

    Args:
        depth: towards the viewer, any shape and unit.
        closeness: 1 / distance of the pinhole from depth 0, in the inverse unit; 0 is far away.

    Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 6.1.
    """
    return np.asarray(1.0 / np.maximum(1.0 - closeness * depth, NEAREST))


@dataclass(frozen=True)
class Perspective:
    """What a near camera does to places that are told in pixels: it enlarges what is nearer.

    Attributes:
        closeness: 1 / distance of the pinhole from depth 0, in the places' unit; 0 is far away.
        centre: (2,) the point that does not move.
    """

    closeness: float
    centre: Points2

    def apply(self, points: Points3) -> Points3:
        """(..., 3) places in space where they are seen; depth stays as it is."""
        seen = points.copy()
        nearer = enlargement(points[..., 2:], self.closeness)
        seen[..., :2] = self.centre + nearer * (points[..., :2] - self.centre)
        return seen

    def undo(self, points: Points3) -> Points3:
        """(..., 3) places where they are seen in space."""
        back = points.copy()
        nearer = enlargement(points[..., 2:], self.closeness)
        back[..., :2] = self.centre + (points[..., :2] - self.centre) / nearer
        return back


@dataclass(frozen=True)
class ScaledOrthographicCamera:
    """Rotates the head, drops depth, scales and shifts into image pixels.

    Attributes:
        rotation: (3, 3), determinant +1, from the head frame to the camera's axes
            (x right, y up, z towards the viewer).
        scale_px_per_unit: pixels per unit of the points.
        shift_px: (2,) image position of the head frame's origin.
    """

    rotation: FloatArray
    scale_px_per_unit: float
    shift_px: FloatArray

    def __post_init__(self) -> None:
        check_shape(self.rotation, (3, 3), "rotation")
        check_shape(self.shift_px, (2,), "shift_px")

    def turn(self, points_head: Points3) -> Points3:
        """(N, 3) points in the camera's axes, still in their own unit, origin at the head's."""
        turned: Points3 = points_head @ self.rotation.T
        return turned

    def project(self, points_head: Points3) -> Points2:
        """(N, 2) image pixels. Pixel (0, 0) is the centre of the top-left pixel, y down.

        The sign flip from y up to y down happens here and nowhere else.
        Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 6.3.
        """
        turned = self.turn(points_head)[:, :2] * (self.scale_px_per_unit, -self.scale_px_per_unit)
        return turned + self.shift_px

    def with_origin(self, origin_head: FloatArray) -> ScaledOrthographicCamera:
        """Return the same camera for points whose origin was moved to `origin_head`."""
        return ScaledOrthographicCamera(
            self.rotation, self.scale_px_per_unit, self.project(origin_head[None])[0]
        )

    def in_unit(self, units: float) -> ScaledOrthographicCamera:
        """The same camera for points whose numbers are `units` times as large."""
        return replace(self, scale_px_per_unit=self.scale_px_per_unit / units)

    def in_cut(self, left_top_px: tuple[float, float]) -> ScaledOrthographicCamera:
        """The same camera for a part of the picture whose corner was at `left_top_px`."""
        return replace(self, shift_px=self.shift_px - left_top_px)

    def of_turned(self) -> ScaledOrthographicCamera:
        """The same camera for points that `turn` has turned."""
        return replace(self, rotation=np.eye(3))

    def to_json(self) -> dict[str, object]:
        """Plain numbers for the report."""
        return {
            "model": "scaled_orthographic",
            "rotation": self.rotation.tolist(),
            "scale_px_per_unit": float(self.scale_px_per_unit),
            "shift_px": self.shift_px.tolist(),
        }


@dataclass(frozen=True)
class PerspectiveCamera(ScaledOrthographicCamera):
    """A pinhole camera, told by what it does at the head frame's origin.

    Attributes:
        scale_px_per_unit, shift_px: at the depth of the origin, and where the origin is seen.
        distance: from the pinhole to the origin, along the line of sight, in units of the points.
        centre_px: (2,) principal point.
    """

    distance: float
    centre_px: FloatArray

    @property
    def focal_px(self) -> float:
        """Focal length."""
        return self.scale_px_per_unit * self.distance

    def project(self, points_head: Points3) -> Points2:
        """(N, 2) image pixels; points must be in front of the pinhole.

        Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 6.1.
        """
        turned = self.turn(points_head)
        nearer = self.distance / (self.distance - turned[:, 2:])
        flat = turned[:, :2] * (self.scale_px_per_unit, -self.scale_px_per_unit)
        projected: Points2 = self.centre_px + nearer * (flat + self.shift_px - self.centre_px)
        return projected

    def with_origin(self, origin_head: FloatArray) -> PerspectiveCamera:
        """Return the same camera for points whose origin was moved to `origin_head`."""
        distance = self.distance - float(self.turn(origin_head[None])[0, 2])
        return PerspectiveCamera(
            self.rotation,
            self.focal_px / distance,
            self.project(origin_head[None])[0],
            distance,
            self.centre_px,
        )

    def in_unit(self, units: float) -> PerspectiveCamera:
        """The same camera for points whose numbers are `units` times as large."""
        return replace(
            self,
            scale_px_per_unit=self.scale_px_per_unit / units,
            distance=self.distance * units,
        )

    def in_cut(self, left_top_px: tuple[float, float]) -> PerspectiveCamera:
        """The same camera for a part of the picture whose corner was at `left_top_px`."""
        return replace(
            self, shift_px=self.shift_px - left_top_px, centre_px=self.centre_px - left_top_px
        )

    def to_json(self) -> dict[str, object]:
        """Plain numbers for the report."""
        return {
            **super().to_json(),
            "model": "perspective",
            "focal_px": float(self.focal_px),
            "centre_px": self.centre_px.tolist(),
            "distance": float(self.distance),
        }


def camera_from_json(found: dict[str, Any]) -> ScaledOrthographicCamera:
    """Read a camera as `to_json` writes it.

    Raises:
        KeyError, TypeError, ValueError, ShapeError: it is none.
    """
    rotation = np.array(found["rotation"], np.float64)
    scale, shift = float(found["scale_px_per_unit"]), np.array(found["shift_px"], np.float64)
    if found["model"] == "perspective":
        centre = np.array(found["centre_px"], np.float64)
        return PerspectiveCamera(rotation, scale, shift, float(found["distance"]), centre)
    if found["model"] != "scaled_orthographic":
        raise ValueError(f"no camera is called {found['model']}")
    return ScaledOrthographicCamera(rotation, scale, shift)


@dataclass(frozen=True)
class PoseDegrees:
    """Where the face looks, R = R_y(yaw) R_x(-pitch) R_z(roll).

    yaw: positive to the subject's left (the viewer's right). pitch: positive upwards.
    roll: about the nose axis, positive when the head tips counter-clockwise in the photo.
    """

    yaw: float
    pitch: float
    roll: float

    @classmethod
    def from_rotation(cls, rotation: FloatArray) -> PoseDegrees:
        """Read the angles off a head-to-camera rotation; straight up or down has roll 0."""
        forward = rotation[:, 2]
        pitch = np.arcsin(np.clip(forward[1], -1.0, 1.0))
        if np.hypot(forward[0], forward[2]) < 1e-9:
            yaw, roll = np.arctan2(-rotation[2, 0], rotation[0, 0]), 0.0
        else:
            yaw = np.arctan2(forward[0], forward[2])
            roll = np.arctan2(rotation[1, 0], rotation[1, 1])
        return cls(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))

    def to_json(self) -> dict[str, float]:
        """Plain numbers for the report."""
        return {"yaw": self.yaw, "pitch": self.pitch, "roll": self.roll}
