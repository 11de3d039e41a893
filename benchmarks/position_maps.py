"""What do position map networks cost, and where do they fail?

    python benchmarks/position_maps.py time PHOTO [--model prnet-resnet18 ...]
    python benchmarks/position_maps.py train
    python benchmarks/position_maps.py sheet PHOTOS -o sheet.png
    python benchmarks/position_maps.py failures AFLW2000 -o failures.png [--every N]

`time`: one face of a photo, from its box: one look of the network, and `predict_position_maps`.
`train`: seconds for one step of the published training (16 pictures of 256 px, bfloat16) with each
encoder, and for one of ours; ratios to ResFCN256's. Pictures are random: an epoch costs what its
steps do. `sheet`: of each photo its sparse and dense alignment. `failures`: the worst photos of
each yaw bin, with the true points, ordered by yaw.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from face3d_cli.core.crop import crop_face
from face3d_cli.core.landmarks68 import normalised_mean_error
from face3d_cli.evaluation.landmarks import annotated_face, find_annotated_photos
from face3d_cli.io.image import read_photo, save_png
from face3d_cli.networks.prnet import PositionMapNet
from face3d_cli.settings import PositionMapNetSettings, PositionMapSettings
from face3d_cli.stages.contact_sheet import draw_landmarks
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.map_mesh import mesh_of_map
from face3d_cli.stages.map_pictures import draw_dense
from face3d_cli.stages.position_map import (
    _network,
    face_square,
    predict_position_maps,
)

TILE_PX, PER_ROW, PER_BIN = 260, 8, 16
YAW_BINS = ((0, 30), (30, 60), (60, 91))
CONTESTANTS = {
    "resfcn, published decoder, 256 px": PositionMapNetSettings("resfcn", "published", 256),
    "resnet18, published decoder, 256 px": PositionMapNetSettings("resnet18", "published", 256),
    "mobilenetv2, published decoder, 256 px": PositionMapNetSettings(
        "mobilenetv2", "published", 256
    ),
    "resnet18, light decoder, 128 px (ships)": PositionMapNetSettings("resnet18", "light", 128),
    "mobilenetv2, light decoder, 128 px (ships)": PositionMapNetSettings(
        "mobilenetv2", "light", 128
    ),
}
BATCH = 16


def median_ms(work: object, repeats: int = 31) -> float:
    """After two runs that do not count."""
    assert callable(work)
    spent = []
    for repeat in range(repeats + 2):
        start = time.perf_counter()
        work()
        if repeat >= 2:
            spent.append(1e3 * (time.perf_counter() - start))
    return round(float(np.median(spent)), 1)


def time_inference(photo: Path, models: list[str]) -> None:
    image = read_photo(photo)
    box = max(detect_faces(image), key=lambda each: each.area)
    for model in models:
        settings = PositionMapSettings(model=model)
        network = _network(model, None)
        (found,) = predict_position_maps(image, [box], settings)
        square = face_square(found.camera_from_mean)
        side = network.input_px
        crop = crop_face(image, square, face_px=side, crop_px=side).image[None]
        print(
            json.dumps(
                {
                    "model": model,
                    "network_ms": median_ms(lambda n=network, c=crop: n.maps(c)),
                    "face_ms": median_ms(lambda s=settings: predict_position_maps(image, [box], s)),
                    "passes": settings.passes,
                }
            ),
            flush=True,
        )


def time_training(steps: int = 3) -> None:
    spent: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for name, config in CONTESTANTS.items():
        network = PositionMapNet(config).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(network.parameters(), 1e-4)
        images = torch.rand(BATCH, 3, config.input_px, config.input_px)
        images = images.contiguous(memory_format=torch.channels_last)
        wanted = torch.rand(BATCH, 3, config.map_px, config.map_px)
        for step in range(steps + 1):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                loss = (network(images).float() - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step:
                spent[name].append(time.perf_counter() - start)
    slowest = min(spent["resfcn, published decoder, 256 px"])
    for name, seconds in spent.items():
        row = {
            "seconds_a_step": round(min(seconds), 3),
            "of_resfcn": round(min(seconds) / slowest, 3),
        }
        print(json.dumps({"network": name, **row}))


def tile(picture: np.ndarray, text: str) -> np.ndarray:
    height, width = picture.shape[:2]
    zoom = TILE_PX / max(height, width)
    small = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    small = small[:TILE_PX, :TILE_PX]
    framed = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    framed[: small.shape[0], : small.shape[1]] = small
    cv2.putText(framed, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 90, 255), 1)
    return framed


def save_sheet(tiles: list[np.ndarray], path: Path) -> None:
    blank = [np.zeros_like(tiles[0])] * (-len(tiles) % PER_ROW)
    rows = [*tiles, *blank]
    save_png(
        path, np.vstack([np.hstack(rows[i : i + PER_ROW]) for i in range(0, len(rows), PER_ROW)])
    )


def alignment_sheet(folder: Path, out: Path, model: str) -> None:
    tiles = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".jpg", ".png")):
        image = read_photo(path)
        found = detect_faces(image)
        if not found:
            print(f"{path.name}: no face")
            continue
        box = max(found, key=lambda each: each.area)
        settings = PositionMapSettings(model=model)
        (found_map,) = predict_position_maps(image, [box], settings)
        sparse = draw_landmarks(image, [(box, found_map.landmarks_px)])
        dense = draw_dense(image, [mesh_of_map(found_map, settings.mesh_px)])
        x, y = (round(v) for v in box.center)
        reach = round(1.1 * box.width)
        cut = np.s_[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
        tiles += [tile(sparse[cut], path.stem[-12:]), tile(dense[cut], "")]
    save_sheet(tiles, out)


def failure_sheet(folder: Path, out: Path, model: str, every: int) -> None:
    settings = PositionMapSettings(model=model)
    rows = []
    for photo in find_annotated_photos(folder)[::every]:
        image = read_photo(photo.path)
        box = annotated_face(detect_faces(image), photo.box)
        if box is None:
            continue
        (found,) = predict_position_maps(image, [box], settings)
        error = 100 * normalised_mean_error(found.landmarks_px, photo.landmarks_px)
        rows.append((error, photo, box, found.landmarks_px))
    tiles = []
    for low, high in YAW_BINS:
        here = [row for row in rows if low <= abs(row[1].yaw_deg) < high]
        worst = sorted(here, key=lambda row: -row[0])[:PER_BIN]
        for error, photo, box, points in sorted(worst, key=lambda row: abs(row[1].yaw_deg)):
            picture = draw_landmarks(read_photo(photo.path), [(box, points)])
            for x, y in photo.landmarks_px:
                cv2.circle(picture, (round(x), round(y)), 2, (255, 40, 40), -1)
            tiles.append(tile(picture, f"yaw {photo.yaw_deg:.0f}  {error:.1f} %"))
    save_sheet(tiles, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("time", "train", "sheet", "failures"))
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--model", nargs="+", default=[PositionMapSettings.model])
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    if asked.what == "train":
        time_training()
    elif asked.path is None:
        parser.error("name a photo or a folder")
    elif asked.what == "time":
        time_inference(asked.path, asked.model)
    elif asked.out is None:
        parser.error("name the picture with -o")
    elif asked.what == "sheet":
        alignment_sheet(asked.path, asked.out, asked.model[0])
    else:
        failure_sheet(asked.path, asked.out, asked.model[0], asked.every)


if __name__ == "__main__":
    main()
