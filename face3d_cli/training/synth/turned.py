"""One photo, many pictures: other poses, shapes, sides of the head, light and backgrounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, LabelImage, Mask, Points3, RgbImage
from face3d_cli.core.camera import PoseDegrees, enlargement
from face3d_cli.core.mesh import vertex_normals
from face3d_cli.core.position_map import FACE_CENTRE_CM
from face3d_cli.core.raster import rasterize
from face3d_cli.core.segmentation_classes import mask_of
from face3d_cli.settings import SynthSettings
from face3d_cli.training.synth.backgrounds import Backgrounds
from face3d_cli.training.synth.fit import FittedFace
from face3d_cli.training.synth.sample import (
    PX_PER_CM,
    SAMPLE_PX,
    Sample,
    sample_at,
)
from face3d_cli.training.synth.sides import Haircut, paint_hair, without_seam
from face3d_cli.training.synth.surface import FaceSurface
from face3d_cli.training.synth.turn import GRID_STEP_PX, Drawn, Relief, render_turned

Rng = np.random.Generator
SKIN = ("skin", "nose", "left_ear", "right_ear", "neck")


@dataclass(frozen=True, eq=False)
class FaceInSquare:
    """One photo and the face in it: what turned pictures are made of.

    Attributes:
        source, labels, person: (S, S, ...) the photo's square, its segments, who it shows.
        relief: its surface, in space: what the photo's perspective did is undone.
        fitted, coefficients: the face.
        surface: the model.
        head_cm: (V, 3) the head.
        face_px: (3,) where the middle of the face is.
    """

    source: RgbImage
    labels: LabelImage
    person: Mask
    relief: Relief
    fitted: FittedFace
    coefficients: FloatArray
    surface: FaceSurface
    head_cm: Points3
    face_px: FloatArray

    def varied(self, settings: SynthSettings, rng: Rng) -> FaceInSquare:
        """Another head under the same photo.

        Fitted shapes are too much alike: what a photo does not tell is taken from the mean.
        """
        count = len(self.surface.linear_mm.shape_mm)
        change = np.zeros_like(self.coefficients)
        change[:count] = rng.normal(0, settings.shape_spread, count)
        moves_cm = np.tensordot(change, self.surface.basis_cm, axes=1)
        moves_px = moves_cm @ self.fitted.rotation.T * (PX_PER_CM * np.array([1.0, -1.0, 1.0]))
        return replace(
            self,
            coefficients=self.coefficients + change,
            head_cm=self.head_cm + moves_cm,
            relief=self.relief.deformed(moves_px, self.surface.head_triangles),
        )

    def on_head_cm(self, points_px: FloatArray) -> FloatArray:
        """(..., 3) points of the square in the head's frame."""
        away = (points_px - self.face_px) * (1.0, -1.0, 1.0) / PX_PER_CM
        return np.asarray(away @ self.fitted.rotation + FACE_CENTRE_CM)

    def hair_color(self) -> FloatArray | None:
        """(3,) of the photo's hair; None where it shows little."""
        hair = mask_of(self.labels, ("hair",)) & self.person
        return np.median(self.source[hair], axis=0) if hair.sum() > 150 else None

    def is_skin(self, places_px: FloatArray) -> Mask:
        """(H, W) whether the photo has skin at these places."""
        skin = mask_of(self.labels, SKIN).astype(np.uint8)
        return np.asarray(cv2.remap(skin, places_px, None, cv2.INTER_NEAREST) > 0)


def turned_samples(
    photo: FaceInSquare, backgrounds: Backgrounds, rng: Rng, settings: SynthSettings
) -> Iterator[Sample]:
    """Draw a photo's pictures; more of one that shows a side of the head."""
    is_sideways = abs(_angles_deg(photo.fitted.rotation)[0]) > settings.sideways_from_deg
    for _ in range(settings.turned_per_photo * (2 if is_sideways else 1)):
        yield _turned(photo, backgrounds, rng, settings)


def _turned(
    photo: FaceInSquare, backgrounds: Backgrounds, rng: Rng, settings: SynthSettings
) -> Sample:
    """Draw the relief at a random pose, with other sides and light, before another background."""
    yaw, pitch, roll = _angles_deg(photo.fitted.rotation)
    # Rather further round the way it already looks: that side of the face is in the photo.
    same_way = rng.random() < np.clip(0.5 + yaw / 20, 0.08, 0.92)
    low, high = settings.yaw_deg
    target_yaw = rng.uniform(low, high) * (1 if same_way else -1)
    target_pitch = np.clip(pitch + rng.normal(0, settings.pitch_deg), -45, 45)
    rotation = _rotation(target_yaw, target_pitch, roll)
    turn = rotation @ photo.fitted.rotation.T
    middle = np.full(2, (SAMPLE_PX - 1) / 2)
    photo = photo.varied(settings, rng)
    relief, is_new = photo.relief, rng.random() < settings.new_sides_share
    if is_new:
        side = len(photo.source) // GRID_STEP_PX
        grid = photo.on_head_cm(relief.points_px).reshape(side, side, 3).astype(np.float32)
        head_cm = cv2.resize(grid, (len(photo.source), len(photo.source)))
        relief = replace(relief, source=without_seam(relief.source, head_cm, photo.person, rng))
    closeness_per_cm = rng.uniform(0, 1 / settings.nearest_camera_cm)
    seen_from = (turn, photo.face_px, middle, 1.0, SAMPLE_PX, closeness_per_cm / PX_PER_CM)
    drawn = render_turned(relief, *seen_from)
    colors, shown_cm = drawn.colors.astype(np.float64), photo.on_head_cm(drawn.points_px)
    normals = _with_head_normals(drawn, photo, rotation, middle, closeness_per_cm, is_new)
    light = rng.normal((0.0, 0.5, 0.0), 1.0)  # rather from above
    light[2] = abs(light[2])
    light /= np.linalg.norm(light)
    facing = np.maximum(normals @ light, 0.0)
    shade = 1 + rng.uniform(0, settings.relight) * (2 * facing - 1)
    lit: FloatArray = np.clip(colors * shade[..., None], 0, 255)
    if rng.random() < settings.hair_share:
        lit = paint_hair(lit, shown_cm, Haircut.draw(photo.hair_color(), rng), rng)
    behind = backgrounds.behind_head(photo.source, rng, settings)
    image = lit * drawn.alpha[..., None] + behind * (1 - drawn.alpha[..., None])
    return sample_at(
        image.astype(np.uint8), photo.coefficients, rotation, middle,
        is_turned=True, closeness_per_cm=closeness_per_cm,
    )  # fmt: skip


def _with_head_normals(
    drawn: Drawn,
    photo: FaceInSquare,
    rotation: FloatArray,
    middle: FloatArray,
    closeness_per_cm: float,
    everywhere: bool,
) -> FloatArray:
    """The relief's normals, and where it shows skin those of the head, with its ears and jaw."""
    up = np.array([1.0, -1.0, 1.0])
    turned = (photo.head_cm - FACE_CENTRE_CM) @ rotation.T * (PX_PER_CM * up)
    flat = turned[:, :2] * enlargement(turned[:, 2:], closeness_per_cm / PX_PER_CM) + middle
    of_vertices = vertex_normals(turned * up, photo.surface.head_triangles)
    raster = rasterize(
        flat, photo.surface.head_triangles, drawn.alpha.shape, towards_viewer=turned[:, 2]
    )
    normals = raster.interpolate(of_vertices, photo.surface.head_triangles)
    used = raster.is_covered & (everywhere | photo.is_skin(drawn.places_px))
    found = np.where(used[..., None], normals, drawn.normals)
    smooth = cv2.GaussianBlur(found, (0, 0), 0.7)
    return np.asarray(smooth / np.linalg.norm(smooth, axis=2, keepdims=True))


def _angles_deg(rotation: FloatArray) -> tuple[float, float, float]:
    pose = PoseDegrees.from_rotation(rotation)
    return pose.yaw, pose.pitch, pose.roll


def _rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> FloatArray:
    """R = R_y(yaw) R_x(-pitch) R_z(roll), as `core.camera.PoseDegrees` names the angles."""
    y, p, r = np.radians([yaw_deg, -pitch_deg, roll_deg])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    rotation: FloatArray = about_y @ about_x @ about_z
    return rotation
