"""What is a detected face: a box in image pixels, with its score."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaceBox:
    """A box around a face, in image pixels.

    Attributes:
        x: left edge. y: top edge. width, height: extent; the box may reach out of the photo.
        score: the detector's confidence, on its own scale; None for a box the user gave.
        detector: which detector found it ("hog", "cnn", "yunet", "box", "landmarks").
        roll_rad: how far the box is turned about its centre, positive clockwise in the photo.
    """

    x: float
    y: float
    width: float
    height: float
    score: float | None = None
    detector: str = "box"
    roll_rad: float = 0.0

    @property
    def center(self) -> tuple[float, float]:
        """Centre of the box in pixels."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.width * self.height

    def overlap(self, other: FaceBox) -> float:
        """Intersection over union of the two boxes, their rolls ignored; 0 to 1."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(wide, 0.0) * max(high, 0.0)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0
