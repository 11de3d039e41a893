"""What do light and shade say beyond the landmarks? Light, albedo, and displaced vertices.

Landmarks fix few points of a face; shading tells the slope of everything between them. One picture
cannot tell a dark spot from a slope, though, nor a slope from a light, so the albedo and the light
are unknowns of the same estimate, and displacements are those of faces: small changes of the
model's shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor
from torch.nn.functional import normalize

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage, Triangles, check_shape
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.diff import cameras
from face3d_cli.diff.fragments import gather_rows
from face3d_cli.diff.lighting import harmonic_irradiance
from face3d_cli.diff.normals import vertex_normals
from face3d_cli.diff.rasterize import rasterize
from face3d_cli.diff.shading import (
    estimate_light,
    linear_to_srgb,
    shading,
    srgb_to_linear,
    turned_light,
)
from face3d_cli.errors import StageError
from face3d_cli.settings import RefineSettings
from face3d_cli.stages.mesh_start import Square, cut_square, square_around

MIN_PIXELS = 80  # of skin, in the square, to see any light in
FINER = 3  # the photo is averaged over so many pixels to a side
LUMINANCE = (0.2126, 0.7152, 0.0722)
_PROBE = 0.05  # standard deviations, for derivatives of normals
_FREE = 1.0  # variance of the overall brightness, which says nothing
_MIN_BRIGHTNESS = 0.004  # linear: darker pixels are noise


@dataclass(frozen=True)
class Refinement:
    """The refined shape and what it was lit by.

    Attributes:
        displacement_mm: (V, 3) to add to the fitted vertices.
        coefficients: (K,) change of the shape coefficients, in standard deviations.
        agreement: cosine between the displacements that either half of the face alone asks for;
            below `RefineSettings.agreement` nothing is displaced.
        light: (9, 3) harmonics for red, green and blue in the head frame; the skin's mean shading
            is 1, so that the light's colour stays in the albedo.
        vertex_shading: (V, 3) how brightly that light falls on each refined vertex.
        unexplained_before, unexplained_after: robust spread of the relative brightness of skin
            that the shading does not explain.
    """

    displacement_mm: Points3
    coefficients: FloatArray
    agreement: float
    light: FloatArray
    vertex_shading: FloatArray
    unexplained_before: float
    unexplained_after: float


def refine_by_shading(
    image: RgbImage,
    skin: FloatArray,
    vertices_mm: Points3,
    triangles: Triangles,
    shape_basis_mm: FloatArray,
    camera: ScaledOrthographicCamera,
    settings: RefineSettings = RefineSettings(),
) -> Refinement:
    """Estimate the light, then displace the vertices by what it does not explain.

    With b the brightness of skin pixels, s their shading and c the change of the shape
    coefficients, log b = log s(c) + log albedo + noise. Linear in c, and with the logarithm of the
    albedo a Gaussian process over the face, the most probable change is

        c = p^2 J^T (A + N + L + p^2 J J^T)^-1 (log b - log s)

    J derivative of log s, p `spread`, A covariance of the albedo (smooth, alike on both sides of
    the face), N noise, larger for outliers, L what an error of the light may do. The light is then
    estimated again, and the change from there. The same is done with the pixels of the face's left
    half alone, and of its right: unless both ask for much the same, all vertices stay.

    Args:
        image: (H, W, 3) photo.
        skin: (H, W) 0..1, where the photo shows bare skin.
        vertices_mm: (V, 3) fitted, as in the photo, in the head frame, mirrored at x = 0.
        triangles: (F, 3).
        shape_basis_mm: (V, 3, K) one standard deviation of each shape.
        camera: projects the vertices.
        settings: sizes and strengths.

    Raises:
        ShapeError: arrays that do not fit.
        StageError: hardly any skin is seen.

    Source: Kemelmacher-Shlizerman & Basri, 3D Face Reconstruction from a Single Image Using a
    Single Reference Face Shape, TPAMI 2011, for light, then shape, from a reference; Rasmussen &
    Williams, Gaussian Processes for Machine Learning, 2006, equation 2.11, for the estimate.
    """
    check_shape(skin, image.shape[:2], "skin")
    check_shape(shape_basis_mm, (*vertices_mm.shape, None), "shape_basis_mm")
    scene = _Scene(image, skin, vertices_mm, triangles, camera, settings.size_px)
    basis = torch.from_numpy(np.ascontiguousarray(shape_basis_mm, np.float64))
    slopes = scene.normal_slopes(basis)  # (K, N, 3)
    covariance = _albedo_covariance(scene.positions_mm, settings) + _FREE
    left = scene.positions_mm[:, 0] > 0
    change: FloatArray = np.zeros(basis.shape[2])
    agreement = 0.0
    before = after = scene.explain(basis, slopes, change)
    for _ in range(settings.rounds):
        wanted = after.residual + after.derivative @ change
        errors = covariance + settings.light_error**2 * after.by_light @ after.by_light.T
        errors[np.diag_indices_from(errors)] += _noise_variance(after.residual, settings)
        change, by_left, by_right = (
            _most_probable(
                wanted[pixels], after.derivative[pixels], errors[np.ix_(pixels, pixels)], settings
            )
            for pixels in (left | ~left, left, ~left)
        )
        agreement = _cosine(shape_basis_mm @ by_left, shape_basis_mm @ by_right)
        after = scene.explain(basis, slopes, change)
    if agreement < settings.agreement:
        change, after = np.zeros_like(change), before
    vertices = scene.start + basis @ torch.from_numpy(change)
    colored = scene.light_by_color(scene.normals(vertices))
    on_vertices = shading(vertex_normals(vertices[None], scene.triangles)[0], colored)
    return Refinement(
        displacement_mm=np.asarray(shape_basis_mm @ change),
        coefficients=change,
        agreement=agreement,
        light=colored.numpy(),
        vertex_shading=on_vertices.numpy(),
        unexplained_before=before.unexplained,
        unexplained_after=after.unexplained,
    )


@dataclass(frozen=True)
class _Explained:
    """What light and a shape leave of the logarithm of N pixels' brightness.

    Attributes:
        residual: (N,) that is not explained, its median 0.
        derivative: (N, K) of the shading's logarithm by the shape coefficients.
        by_light: (N, 9) the same by the light's harmonics.
        unexplained: robust spread of the residual.
    """

    residual: FloatArray
    derivative: FloatArray
    by_light: FloatArray
    unexplained: float


def _most_probable(
    wanted: FloatArray, derivative: FloatArray, errors: FloatArray, settings: RefineSettings
) -> FloatArray:
    """(K,) coefficients, given (N,) values, their (N, K) derivative and (N, N) covariance."""
    spread = settings.spread**2
    total = errors + spread * derivative @ derivative.T
    change: FloatArray = spread * derivative.T @ cho_solve(cho_factor(total), wanted)
    return change


def _cosine(one: FloatArray, other: FloatArray) -> float:
    """Between two (V, 3) displacements; 0 where either is none."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / lengths if lengths > 0 else 0.0


def _noise_variance(residual: FloatArray, settings: RefineSettings) -> FloatArray:
    """(N,) variance of each pixel's own error; outliers have more (Huber)."""
    usual = np.hypot(settings.albedo_spread, settings.noise)
    beyond = np.abs(residual) / (settings.outlier_from * usual)
    variance: FloatArray = settings.noise**2 * np.maximum(1.0, beyond) ** 2
    return variance


def _albedo_covariance(positions_mm: FloatArray, settings: RefineSettings) -> FloatArray:
    """(N, N) of the logarithm of the albedo: near places are alike, and mirrored ones."""
    mirrored = positions_mm * (-1.0, 1.0, 1.0)
    variance, reach = settings.albedo_spread**2, 2 * settings.albedo_reach_mm**2
    covariance = np.zeros((len(positions_mm),) * 2)
    for others in (positions_mm, mirrored):
        squared = ((positions_mm[:, None] - others[None]) ** 2).sum(axis=2)
        covariance += variance * np.exp(-squared / reach)
    return covariance


class _Scene:
    """The skin pixels of the face's square; which place of the mesh each shows stays fixed.

    Attributes:
        start: (V, 3) fitted vertices.
        triangles: (F, 3).
        colors: (N, 3) linear.
        brightness: (N,) linear.
        positions_mm: (N, 3) head frame.
    """

    def __init__(
        self,
        image: RgbImage,
        skin: FloatArray,
        vertices_mm: Points3,
        triangles: Triangles,
        camera: ScaledOrthographicCamera,
        size_px: int,
    ) -> None:
        square = square_around(camera.project(vertices_mm), 1.02)
        self.start = torch.from_numpy(np.asarray(vertices_mm, np.float64))
        self.triangles = torch.from_numpy(triangles.astype(np.int64))
        seen_by = _camera_of(square, camera, size_px)
        with torch.no_grad():
            points = seen_by.project(self.start[None])
            seen = rasterize(points, self.triangles, size_px, size_px, cull_backfaces=True)
        share, color = _skin_colors(image, skin, square, size_px)
        share, color = share.reshape(-1)[seen.pixel], color.reshape(-1, 3)[seen.pixel]
        brightness = color @ color.new_tensor(LUMINANCE)
        self._corners, self._weights = seen.corners, seen.weights
        facing = self.normals(self.start) @ seen_by.rotation[2]
        kept = ((share > 0.6) & (facing > 0.35) & (brightness > _MIN_BRIGHTNESS)).nonzero()[:, 0]
        if len(kept) < MIN_PIXELS:
            raise StageError(
                "hardly any bare skin is seen: its light cannot be estimated",
                hint="leave out --refine",
            )
        self._corners, self._weights = seen.corners[kept], seen.weights[kept]
        self.colors, self.brightness = color[kept], brightness[kept]
        self.positions_mm: FloatArray = self._at_pixels(self.start).numpy()

    def _at_pixels(self, attributes: Tensor) -> Tensor:
        """(N, C) of a (V, C) vertex attribute."""
        return (self._weights.unsqueeze(-1) * gather_rows(attributes, self._corners)).sum(dim=1)

    def normals(self, vertices: Tensor) -> Tensor:
        """(N, 3) unit normals of (V, 3) vertices, in the head frame."""
        return normalize(self._at_pixels(vertex_normals(vertices[None], self.triangles)[0]), dim=1)

    def normal_slopes(self, basis: Tensor) -> Tensor:
        """(K, N, 3) how the pixels' normals change with each shape."""
        here = self.normals(self.start)
        shapes = basis.permute(2, 0, 1)
        return torch.stack(
            [(self.normals(self.start + _PROBE * shape) - here) / _PROBE for shape in shapes]
        )

    def explain(self, basis: Tensor, slopes: Tensor, change: FloatArray) -> _Explained:
        """Estimate the light on the shape changed by (K,), and take the shading away.

        Args:
            basis: (V, 3, K).
            slopes: (K, N, 3), from `normal_slopes`.
            change: (K,).
        """
        normals = self.normals(self.start + basis @ torch.from_numpy(change))
        light = estimate_light(normals, self.brightness)
        lit = shading(normals, light)[:, 0]  # (N,)
        residual = (self.brightness.log() - lit.log()).numpy()
        residual = residual - np.median(residual)
        probed = shading(normalize(normals + _PROBE * slopes, dim=2), light)[..., 0]  # (K, N)
        by_light = harmonic_irradiance(normals, torch.eye(9).double()) / lit[:, None]
        return _Explained(
            residual=residual,
            derivative=((probed.log() - lit.log()) / _PROBE).T.numpy(),
            by_light=by_light.numpy(),
            unexplained=1.4826 * float(np.median(np.abs(residual))),
        )

    def light_by_color(self, normals: Tensor) -> Tensor:
        """(9, 3) light of each colour."""
        return torch.cat([estimate_light(normals, color) for color in self.colors.T], dim=1)


def _camera_of(
    square: Square, camera: ScaledOrthographicCamera, size_px: int
) -> cameras.ScaledOrthographicCamera:
    """The photo's camera for the square, `size_px` a side."""
    zoom = size_px / square.side
    # Pixel centres: square = (image - left + 0.5) * zoom - 0.5
    shift = (camera.shift_px - (square.left, square.top) + 0.5) * zoom - 0.5
    return cameras.ScaledOrthographicCamera(
        torch.from_numpy(np.asarray(camera.rotation, np.float64)),
        torch.tensor(camera.scale_px_per_unit * zoom, dtype=torch.float64),
        torch.from_numpy(np.asarray(shift, np.float64)),
    )


def _skin_colors(
    image: RgbImage, skin: FloatArray, square: Square, size_px: int
) -> tuple[Tensor, Tensor]:
    """(S, S) share of skin in each pixel, and (S, S, 3) its mean linear colour."""
    fine = FINER * size_px
    share = cut_square(np.asarray(skin, np.float32), square, fine)
    photo = torch.from_numpy(cut_square(image, square, fine).astype(np.float32) / 255.0)
    weighted = srgb_to_linear(photo).numpy() * share[..., None]
    size = (size_px, size_px)
    mean_share = cv2.resize(share, size, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    colors = sums / np.maximum(mean_share, 1e-3)[..., None]
    return torch.from_numpy(mean_share).double(), torch.from_numpy(colors).double()


def delight_texture(
    texture: RgbImage, uv: Points2, triangles: Triangles, vertex_shading: FloatArray
) -> RgbImage:
    """Divide the light out of a texture: (T, T, 3) sRGB albedo.

    Args:
        texture: (T, T, 3) sRGB.
        uv: (V, 2).
        triangles: (F, 3).
        vertex_shading: (V, 3) linear factors.
    """
    size = min(len(texture), 256)  # shading is smooth
    lit = UvAtlas(uv, triangles, size).bake(vertex_shading)
    lit = np.asarray(cv2.resize(lit, texture.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    linear = srgb_to_linear(torch.from_numpy(texture.astype(np.float32) / 255.0))
    albedo = linear_to_srgb(linear / torch.from_numpy(lit))
    return np.asarray((albedo * 255).round().to(torch.uint8).numpy())


def turn_light(light: FloatArray, rotation: FloatArray) -> FloatArray:
    """(9, C) harmonics of the light when the scene is turned by a (3, 3) rotation."""
    turned: FloatArray = turned_light(
        torch.from_numpy(np.ascontiguousarray(light)),
        torch.from_numpy(np.ascontiguousarray(rotation)),
    ).numpy()
    return turned
