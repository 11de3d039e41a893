"""How different are two pictures? Masked error, PSNR, SSIM, silhouettes, landmarks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d


def masked_squared_errors(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """(B, H, W, C) squared difference m (a - b)^2, weighted by a (B, H, W) mask."""
    return (image - target).square() * mask.unsqueeze(-1)


def mean_masked_squared_error(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the masked pixels and channels; zero for an empty mask."""
    total = masked_squared_errors(image, target, mask).sum()
    return total / (mask.sum() * image.shape[-1]).clamp(min=1e-8)


def masked_psnr_db(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio -10 log10(MSE) inside the mask, for values in [0, 1]."""
    error: Tensor = mean_masked_squared_error(image, target, mask)
    return -10.0 * torch.log10(error.clamp(min=1e-10))


def ssim_map(image: Tensor, target: Tensor, window_px: int = 11, sigma_px: float = 1.5) -> Tensor:
    """(B, H, W, C) structural similarity around each pixel, 1 where the pictures agree.

    (2 ma mb + c1)(2 sab + c2) / ((ma^2 + mb^2 + c1)(sa^2 + sb^2 + c2)) with means, variances and
    covariance under a Gaussian window, c1 = 0.01^2, c2 = 0.03^2 for values in [0, 1]. Beyond the
    border the nearest pixel is repeated.

    Source: Wang et al., Image Quality Assessment, IEEE TIP 2004, equation 13.
    """
    both = torch.stack([image, target, image * image, target * target, image * target])
    a, b, aa, bb, ab = _blur(both, window_px, sigma_px)
    c1, c2 = 0.01**2, 0.03**2
    covariance = ab - a * b
    variances = (aa - a * a) + (bb - b * b)
    above = (2 * a * b + c1) * (2 * covariance + c2)
    similarity: Tensor = above / ((a * a + b * b + c1) * (variances + c2))
    return similarity


def mean_masked_ssim(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean SSIM over the pixels of a (B, H, W) mask."""
    similarity = ssim_map(image, target).mean(dim=-1)
    return (similarity * mask).sum() / mask.sum().clamp(min=1e-8)


def _blur(pictures: Tensor, window_px: int, sigma_px: float) -> Tensor:
    """Gaussian blur of (N, B, H, W, C), row by row and then column by column."""
    shape = pictures.shape
    flat = pictures.permute(0, 1, 4, 2, 3).reshape(-1, 1, shape[2], shape[3])
    reach = window_px // 2
    at = torch.arange(window_px, dtype=pictures.dtype, device=pictures.device) - reach
    kernel = torch.exp(-0.5 * (at / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    flat = torch.nn.functional.pad(flat, [reach] * 4, mode="replicate")
    flat = conv2d(conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return flat.reshape(shape[0], shape[1], shape[4], shape[2], shape[3]).permute(0, 1, 3, 4, 2)


def silhouette_errors(coverage: Tensor, target: Tensor) -> Tensor:
    """(B,) 1 - intersection over union of two soft masks (B, H, W).

    1 - sum(a b) / sum(a + b - a b). Source: Liu et al., Soft Rasterizer, ICCV 2019, equation 10.
    """
    both = (coverage * target).flatten(1).sum(dim=1)
    either = (coverage + target - coverage * target).flatten(1).sum(dim=1)
    return 1.0 - both / either.clamp(min=1e-8)


def landmark_errors(points_img: Tensor, landmarks_img: Tensor, size_px: Tensor | float) -> Tensor:
    """(B, L) squared distances of image points, in units of a size such as the face's width.

    |p - l|^2 / s^2. Source: Tewari et al., MoFA, ICCV 2017, equation 5.
    """
    return ((points_img - landmarks_img) / size_px).square().sum(dim=-1)
