"""How like the photos do the optimised meshes become, at what cost, and do they stay sound?

    python benchmarks/meshnet.py PHOTO_OR_FOLDER... [--init surrey hemisphere] [--sheets DIR]

Every photo and start is a process of its own with the defaults of `face3d meshnet`: wall and CPU
seconds from its start (imports included), peak resident memory, PSNR and SSIM inside the mask, and
the share of triangles that flipped over or cross others though they did not in the template.
Prints a JSON line a run, then one a start with the median and the worst.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

SUFFIXES = {".jpg", ".jpeg", ".png"}
# Figure, and which of its values over the photos is the worst.
WORST = {
    "psnr_db": min,
    "ssim": min,
    "unsound_share": max,
    "wall_s": max,
    "cpu_s": max,
    "peak_gib": max,
}


def run(photo: Path, init: str, size_px: int, steps: int, sheets: Path | None, begun: float) -> Any:
    """One photo and start; None when there is no face in it."""
    from face3d_cli.core.mesh_quality import crossing_triangles, flipped_triangles
    from face3d_cli.errors import InputError
    from face3d_cli.pipeline.meshnet import optimise_photo
    from face3d_cli.settings import MeshNetSettings

    settings = replace(MeshNetSettings(), init=init, size_px=size_px, steps=steps)
    try:
        result = optimise_photo(photo, settings)
    except InputError as problem:
        return {"photo": photo.name, "init": init, "failed": str(problem)}
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall_s = time.time() - begun
    before, after = result.start.template, result.fit.vertices
    unsound = flipped_triangles(after, before.vertices, before.triangles)
    unsound |= crossing_triangles(after, before.triangles) & ~crossing_triangles(
        before.vertices, before.triangles
    )
    if sheets is not None:
        draw(result, sheets / f"{photo.stem}_{init}.png")
    return {
        "photo": photo.name,
        "init": init,
        "psnr_db": round(result.fit.psnr_db, 2),
        "ssim": round(result.fit.ssim, 4),
        "steps": len(result.fit.losses),
        "stop_reason": result.fit.stop_reason,
        "unsound_share": round(float(unsound.mean()), 5),
        "wall_s": round(wall_s, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_gib": round(used.ru_maxrss / (1 << (30 if sys.platform == "darwin" else 20)), 2),
        "perceptual_model": result.perception,
    }


def draw(result: Any, path: Path) -> None:
    """The likeness, the shape from the start to the end, and the usual contact sheet."""
    import cv2

    from face3d_cli.io.image import save_png
    from face3d_cli.stages.contact_sheet import draw_contact_sheet
    from face3d_cli.stages.deformation import draw_comparison, draw_deformation

    face = result.reconstruction.faces[0]
    sheet = draw_contact_sheet(
        result.reconstruction.image, face.box, face.landmarks_px, face.mesh, face.camera
    )
    likeness = draw_comparison(result.target, result.fit)
    shapes = [result.start.template.vertices, result.fit.vertices]
    shape = np.hstack(draw_deformation(shapes, result.start.template.triangles, 288))
    width = sheet.shape[1]
    rows = [likeness, shape, sheet]
    scaled = [cv2.resize(row, (width, round(row.shape[0] * width / row.shape[1]))) for row in rows]
    save_png(path, np.vstack(scaled))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--init", nargs="+", default=["surrey", "hemisphere"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sheets", type=Path, help="folder for a picture of each run")
    asked = parser.parse_args()
    photos = [
        photo
        for given in asked.photos
        for photo in (sorted(given.iterdir()) if given.is_dir() else [given])
        if photo.suffix.lower() in SUFFIXES
    ]
    if asked.sheets:
        asked.sheets.mkdir(parents=True, exist_ok=True)
    records = []
    fresh = multiprocessing.get_context("spawn")
    for photo in photos:
        for init in asked.init:
            with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool:
                begun = time.time()
                job = pool.submit(run, photo, init, asked.size, asked.steps, asked.sheets, begun)
                records.append(job.result())
            print(json.dumps(records[-1]), flush=True)
    for init in asked.init:
        done = [each for each in records if each["init"] == init and "failed" not in each]
        figures: dict[str, Any] = {"init": init, "photos": len(done)}
        for name, worst in WORST.items():
            values = [each[name] for each in done]
            if values:
                figures[name] = {
                    "mean": round(mean(values), 4),
                    "median": round(median(values), 4),
                    "worst": worst(values),
                }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
