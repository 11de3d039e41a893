"""Every default value, once. Stages take these; the command line reads its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DetectorName = Literal["auto", "hog", "cnn", "yunet"]
FacesChoice = Literal["largest", "all"]
Unit = Literal["m", "cm", "mm"]
UpAxis = Literal["y", "z"]
TextureFormat = Literal["png", "jpeg"]


@dataclass(frozen=True)
class ImageSettings:
    """How photos are read."""

    max_pixels: int = 178_956_970  # Pillow's own limit against decompression bombs


@dataclass(frozen=True)
class DetectionSettings:
    """How faces are found (`stages/detection.py`)."""

    detector: DetectorName = "auto"
    search_long_side_px: int = 640  # large photos are searched at this size first


@dataclass(frozen=True)
class MorphableSettings:
    """How the Surrey Face Model is fitted (`stages/morphable.py`)."""

    num_iterations: int = 5
    num_shape_coefficients: int | None = None  # None: all of the model's
    shape_regularisation: float = 30.0  # eos's own default lambda
    use_expressions: bool = True


@dataclass(frozen=True)
class TextureSettings:
    """How the photo is brought into the UV square (`stages/texture.py`)."""

    size_px: int = 1024


@dataclass(frozen=True)
class MeshFileSettings:
    """How mesh files are written (`io/mesh.py`)."""

    glb_texture: TextureFormat = "png"
    jpeg_quality: int = 95


@dataclass(frozen=True)
class ReconstructSettings:
    """Everything that decides what a reconstruction gives."""

    image: ImageSettings = ImageSettings()
    detection: DetectionSettings = DetectionSettings()
    morphable: MorphableSettings = MorphableSettings()
    texture: TextureSettings = TextureSettings()
