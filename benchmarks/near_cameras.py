"""What does a near camera do to a face that is taken for a far one?

    python benchmarks/near_cameras.py

The mean face of ICT-FaceKit is seen by a pinhole from some distances and sides, and its 68
landmarks are fitted by the same face through a scaled-orthographic camera: by how much does it take
the head for more turned (degrees), and by how many millimetres does it miss the jaw's and the inner
landmarks?
"""

from __future__ import annotations

import json

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from face3d_cli.arrays import FloatArray, Points2, Points3
from face3d_cli.core.camera import Perspective
from face3d_cli.core.landmarks68 import JAW
from face3d_cli.core.position_map import FACE_CENTRE_CM, landmarks_of
from face3d_cli.training.synth.sample import MAP_PX
from face3d_cli.training.synth.surface import face_surface

DISTANCES_CM = (50, 80, 120, 200)
YAWS_DEG = (0, 20, 45, 70)
MM_PER_CM = 10.0


def main() -> None:
    mean_cm = face_surface(MAP_PX).map_mean_cm.astype(np.float32)
    landmarks_cm = landmarks_of(mean_cm).astype(np.float64) - FACE_CENTRE_CM
    for distance_cm in DISTANCES_CM:
        for yaw_deg in YAWS_DEG:
            turn = Rotation.from_euler("y", yaw_deg, degrees=True)
            view = Perspective(1.0 / distance_cm, np.zeros(2))
            seen_cm = view.apply(turn.apply(landmarks_cm))[:, :2]
            found_deg, away_cm = fitted(landmarks_cm, seen_cm, turn)
            print(
                json.dumps(
                    {
                        "distance_cm": distance_cm,
                        "yaw_deg": yaw_deg,
                        "taken_for_more_deg": round(found_deg - yaw_deg, 1),
                        "jaw_mm": round(MM_PER_CM * away_cm[JAW].mean(), 1),
                        "inner_mm": round(MM_PER_CM * away_cm[JAW.stop :].mean(), 1),
                    }
                )
            )


def fitted(landmarks_cm: Points3, seen_cm: Points2, start: Rotation) -> tuple[float, FloatArray]:
    """Yaw of the best similarity for the inner landmarks, and (68,) distances."""

    def misses(pose: FloatArray) -> FloatArray:
        turned = np.exp(pose[3]) * Rotation.from_rotvec(pose[:3]).apply(landmarks_cm)
        return np.asarray(turned[:, :2] + pose[4:] - seen_cm)

    first = np.concatenate([start.as_rotvec(), np.zeros(3)])
    best = least_squares(lambda pose: misses(pose)[JAW.stop :].ravel(), first)
    forward = Rotation.from_rotvec(best.x[:3]).as_matrix()[:, 2]
    yaw_deg = float(np.degrees(np.arctan2(forward[0], forward[2])))
    return yaw_deg, np.linalg.norm(misses(best.x), axis=1)


if __name__ == "__main__":
    main()
