"""One mesh file as one page: turned with the mouse, lit, as wireframe, shape keys as sliders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from face3d_cli.core.mesh import Mesh
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.mesh_blocks import mesh_blocks, view_script

TEXTURE_PX = 2048


def write_mesh_page(
    path: Path, title: str, meshes: Sequence[Mesh], provenance: Mapping[str, Any]
) -> None:
    """Write the page, whole or not at all; it holds all it shows and works offline.

    Args:
        path: the HTML file.
        title: of the page, and of the first mesh.
        meshes: of one scene.
        provenance: whose licences the page names.

    Raises:
        OutputError: it cannot be written.
    """
    template = Template((files(__package__) / "mesh_page.html").read_text(encoding="utf-8"))
    ids = [f"m{index}" for index in range(len(meshes))]
    names = [title, *(mesh.name for mesh in meshes[1:])]
    page = template.substitute(
        title=escape(title),
        licence=escape(_licences(provenance)),
        blocks=mesh_blocks(meshes, names, ids, set(), TEXTURE_PX, with_blendshapes=True),
        view=view_script(),
        ids=json.dumps(ids),
    )
    with atomic_path(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def _licences(provenance: Mapping[str, Any]) -> str:
    given = provenance.get("licences")
    if not isinstance(given, list):
        return ""
    parts = [
        f"{each.get('what')}: {each.get('licence')}" for each in given if isinstance(each, dict)
    ]
    return "Terms: " + "; ".join(parts) if parts else ""
