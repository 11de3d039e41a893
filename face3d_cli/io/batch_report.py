"""One page that shows a finished batch: thumbnails, errors, links, and every mesh in 3-D.

The page holds all it needs, so that it works offline and can be sent: thumbnails and textures as
small JPEGs, vertices as 16-bit steps of their bounding box, and the triangles and UVs of a topology
once for all meshes that share them. A browser reads a mesh when it is opened, not before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np
from PIL import Image

from face3d_cli.errors import Face3dError
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.image import read_photo
from face3d_cli.io.mesh import SUFFIXES, load_mesh
from face3d_cli.io.mesh_blocks import jpeg_text, mesh_blocks, view_script

_THUMBNAIL_PX = 220
_TEXTURE_PX = 384


@dataclass(frozen=True)
class ReportEntry:
    """One photo of the batch.

    Attributes:
        name: what the page calls it.
        photo: the photo's file; a thumbnail is shown while it is still there.
        status: "ok" or what went wrong.
        text: the error, or a remark.
        outputs: result files, relative to the page's folder.
    """

    name: str
    photo: Path
    status: str
    text: str
    outputs: Sequence[str]


def write_batch_report(path: Path, title: str, entries: Iterable[ReportEntry]) -> int:
    """Write the page, whole or not at all; one photo is in memory at a time.

    Returns:
        How many photos it shows.

    Raises:
        OutputError: it cannot be written.
    """
    template = Template((files(__package__) / "batch_report.html").read_text(encoding="utf-8"))
    head, tail = template.substitute(title=escape(title), cards="\0", view=view_script()).split(
        "\0"
    )
    shared: set[str] = set()  # topologies the page already holds
    count = 0
    with atomic_path(path) as unfinished, unfinished.open("w", encoding="utf-8") as page:
        page.write(head)
        for count, entry in enumerate(entries, 1):
            page.write(_card(entry, path.parent, f"m{count}", shared))
        page.write(tail)
    return count


def _card(entry: ReportEntry, folder: Path, key: str, shared: set[str]) -> str:
    """The card of a photo, and the data of its meshes behind it."""
    links = "".join(
        f'<a href="{escape(quote(os.fsencode(output)))}">{_escaped(Path(output).name)}</a>'
        for output in entry.outputs
    )
    buttons, blocks = [], []
    for index, output in enumerate(each for each in entry.outputs if _is_mesh(each)):
        try:
            mesh = load_mesh(folder / output)
        except Face3dError as problem:  # the file has changed since
            buttons.append(f'<div class="error">{_escaped(str(problem))}</div>')
            continue
        blocks.append(mesh_blocks([mesh], [output], [f"{key}-{index}"], shared, _TEXTURE_PX))
        buttons.append(f'<button data-mesh="{key}-{index}">3-D</button> ')
    kind = "status" if entry.status == "ok" else "error"
    return (
        f'<article data-status="{escape(entry.status)}">{_thumbnail(entry.photo)}'
        f'<div class="text"><div class="name">{_escaped(entry.name)}</div>'
        f'<div class="{kind}">{escape(entry.status)} {_escaped(entry.text)}</div>'
        f"{''.join(buttons)}{links}</div></article>{''.join(blocks)}\n"
    )


def _is_mesh(output: str) -> bool:
    return Path(output).suffix in SUFFIXES


def _thumbnail(photo: Path) -> str:
    try:
        image = Image.fromarray(read_photo(photo))
    except Face3dError:
        return '<div class="none">no picture</div>'
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    return (
        f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{jpeg_text(np.asarray(image))}">'
    )


def _escaped(text: str) -> str:
    """Text for the page; bytes of a file name that are no text become question marks."""
    return escape(text.encode("utf-8", "replace").decode())
