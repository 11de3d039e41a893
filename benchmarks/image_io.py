"""How long a photo takes to read and a texture to write, beside the other way of doing it.

    python benchmarks/image_io.py PHOTO

The photo is scaled to one megapixel first, so that figures of different photos compare.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageCms

from face3d_cli.io.image import encode_png, read_photo

REPEATS = 31


def milliseconds(work: Callable[[], object]) -> dict[str, float]:
    """Median CPU and wall time of `REPEATS` runs after one to warm up."""
    work()
    spent = []
    for _ in range(REPEATS):
        start = time.process_time(), time.perf_counter()
        work()
        spent.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    cpu_s, wall_s = np.median(spent, axis=0)
    return {"cpu_ms": round(1e3 * float(cpu_s), 1), "wall_ms": round(1e3 * float(wall_s), 1)}


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    photo = Image.fromarray(read_photo(parser.parse_args().photo))
    scale = (1e6 / (photo.width * photo.height)) ** 0.5
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
    texture = np.asarray(photo.resize((1024, 1024)))
    jpeg = encoded(photo, format="JPEG", quality=92)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_profile = encoded(photo, format="JPEG", quality=92, icc_profile=srgb)
    ours, pillow = encode_png(texture), encoded(Image.fromarray(texture), format="PNG")
    figures = {
        "read 1 Mpx JPEG": milliseconds(lambda: read_photo(jpeg)),
        "read 1 Mpx JPEG with sRGB profile": milliseconds(lambda: read_photo(with_profile)),
        "  cv2.imdecode of the JPEG": milliseconds(
            lambda: cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        ),
        "write 1024 px PNG": milliseconds(lambda: encode_png(texture)) | {"bytes": len(ours)},
        "  cv2.imencode of the texture": milliseconds(lambda: cv2.imencode(".png", texture))
        | {"bytes": len(cv2.imencode(".png", texture)[1])},
        "  Pillow of the texture, compress_level=1": milliseconds(
            lambda: encoded(Image.fromarray(texture), format="PNG", compress_level=1)
        ),
        "  Pillow of the texture, default level": {"bytes": len(pillow)},
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
