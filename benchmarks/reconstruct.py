"""Print how long the Surrey path takes: warm by stage, cold as a whole, and `face3d --help`.

Usage: python benchmarks/reconstruct.py [PHOTO ...] [--ict]

CPU time is printed beside wall time, for machines that do other work meanwhile. Warm figures are
medians over the runs, with all models loaded; eos's own texture is timed in the same run.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import eos
import numpy as np

from face3d_cli.io.image import read_photo
from face3d_cli.pipeline.single import reconstruct
from face3d_cli.settings import ReconstructSettings, TextureSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.morphable import fit_surrey, load_surrey
from face3d_cli.stages.texture import bake_texture

SAMPLE = Path(__file__).parents[1] / "assets" / "eileen_collins.jpg"
SURREY = {
    "default": ReconstructSettings(),
    "--no-mask": ReconstructSettings(texture=TextureSettings(mask=False)),
}
HEADS = {
    "--method ict": ReconstructSettings(method="ict"),
    "--no-dense": ReconstructSettings(method="ict", dense=None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path, default=[SAMPLE])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--ict", action="store_true", help="time heads, warm, and nothing else")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for photo in arguments.photos:
        warm(photo, arguments.runs, HEADS if arguments.ict else SURREY)
    if arguments.ict:
        return
    cold(arguments.photos[0], arguments.runs)


def warm(photo: Path, runs: int, ways: dict[str, ReconstructSettings]) -> None:
    """Scale a photo to one megapixel and time the stages, files included."""
    image = read_photo(photo)
    scale = (1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=way)
    print(f"\n{photo.name} at {image.shape[1]} x {image.shape[0]}, warm, median of {runs}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photo.jpg"
        cv2.imwrite(str(file), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        for name, settings in ways.items():
            stages = defaultdict(list)
            for run in range(runs + 2):
                wall, cpu = time.perf_counter(), time.process_time()
                result = reconstruct(file, settings)
                result.save(Path(folder) / ("face.obj" if ways is SURREY else "head.glb"))
                if run >= 2:
                    for stage, spent_ms in result.timings.elapsed_ms.items():
                        stages[stage].append(spent_ms)
                    stages["total"].append(1e3 * (time.perf_counter() - wall))
                    stages["total CPU"].append(1e3 * (time.process_time() - cpu))
            row = "  ".join(f"{k} {statistics.median(v):.1f}" for k, v in stages.items())
            print(f"  {name}: {row} ms")
    if ways is SURREY:
        texture(image, runs)


def texture(image: np.ndarray, runs: int) -> None:
    """Time our texture against eos's `extract_texture`, one after the other."""
    points = predict_landmarks(image, detect_faces(image)[0])
    fit = fit_surrey(points, image.shape[:2])
    model = load_surrey()
    height, width = image.shape[:2]
    mesh, rendering, *_ = eos.fitting.fit_shape_and_pose(
        model.morphable_model,
        [eos.core.Landmark(str(i + 1), p) for i, p in enumerate(points.astype(np.float32))],
        model.landmark_mapper,
        width,
        height,
        model.edge_topology,
        model.contour_landmarks,
        model.model_contour,
    )
    # eos reads four channels, and gives zeros for three (patrikhuber/eos#129).
    four = cv2.cvtColor(image, cv2.COLOR_RGB2BGRA)
    ours, theirs = [], []
    for run in range(runs + 2):
        start = time.perf_counter()
        bake_texture(image, fit.vertices_mm, fit.triangles, fit.uv, fit.camera)
        middle = time.perf_counter()
        if run < max(runs // 3, 2):
            eos.render.extract_texture(mesh, rendering, four, 1024)
            theirs.append(1e3 * (time.perf_counter() - middle))
        ours.append(1e3 * (middle - start))
    a, b = statistics.median(ours[2:]), statistics.median(theirs)
    print(f"  texture at 1024 px: {a:.1f} ms; eos extract_texture {b:.1f} ms; ratio {b / a:.1f}")


def cold(photo: Path, runs: int) -> None:
    """Time whole commands, and name the heavy modules they import."""
    face3d = [sys.executable, "-m", "face3d_cli"]
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "face3d --help": ["--help"],
            "face3d reconstruct": ["reconstruct", str(photo), "-o", f"{folder}/face.obj"],
            "face3d reconstruct --no-mask": [
                "reconstruct", str(photo), "--no-mask", "-o", f"{folder}/face.obj",
            ],
        }  # fmt: skip
        print("\ncold, whole process")
        for name, arguments in commands.items():
            walls, cpus = [], []
            for _ in range(min(runs, 5)):
                before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                subprocess.run([*face3d, *arguments], check=True, capture_output=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                walls.append(time.perf_counter() - start)
                cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            code = (
                "import sys\n"
                "from face3d_cli.cli.app import app\n"
                f"app({arguments!r}, standalone_mode=False)\n"
                "print([m for m in ('torch', 'cv2', 'dlib', 'eos') if m in sys.modules])"
            )
            heavy = subprocess.run(
                [sys.executable, "-c", code], check=False, capture_output=True, text=True
            )
            loaded = heavy.stdout.strip().splitlines()[-1] if heavy.stdout else "?"
            print(
                f"  {name}: wall {statistics.median(walls):.2f} s (best {min(walls):.2f}), "
                f"CPU {statistics.median(cpus):.2f} s; imports {loaded}"
            )


if __name__ == "__main__":
    main()
