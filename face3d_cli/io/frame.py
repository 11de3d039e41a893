"""How a mesh file says its unit and up axis, and the turn between the head frame and Z-up files.

A file of ours carries one tag, such as `face3d 0.1.0; unit m; up y`, in a comment or header, so
that reading it back restores the head frame and the unit. A file without a tag is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from face3d_cli.arrays import Points3
from face3d_cli.core.mesh import METRES_PER_UNIT, Mesh
from face3d_cli.settings import Unit, UpAxis
from face3d_cli.version import __version__

_TAG = re.compile(r"face3d \S+; unit (m|cm|mm); up ([yz])")


class FileFrame(NamedTuple):
    """Length of one file unit, and which axis of the file points up.

    `up="y"` is the head frame itself; in `up="z"` the face looks along -Y, towards Blender's front
    view.
    """

    unit: Unit
    up: UpAxis

    def tag(self) -> str:
        """The text that `read_tag` recognises."""
        return f"face3d {__version__}; unit {self.unit}; up {self.up}"


def read_tag(text: str) -> FileFrame | None:
    """Find the tag in a header; None when the file is not ours."""
    found = _TAG.search(text)
    return FileFrame(found[1], found[2]) if found else None  # type: ignore[arg-type]


def to_file(mesh: Mesh, frame: FileFrame) -> Mesh:
    """Bring a mesh from the head frame into a file's frame."""
    mesh = mesh.in_unit(frame.unit)
    return mesh if frame.up == "y" else _turned(mesh, _z_up_from_head)


def points_to_file(points_m: Points3, frame: FileFrame) -> Points3:
    """(N, 3) head-frame metres as they stand in a file."""
    points = points_m / METRES_PER_UNIT[frame.unit]
    return points if frame.up == "y" else _z_up_from_head(points)


def from_file(mesh: Mesh, frame: FileFrame) -> Mesh:
    """Bring a mesh from a file's frame back into the head frame; its unit stays the file's."""
    mesh = replace(mesh, unit=frame.unit)
    return mesh if frame.up == "y" else _turned(mesh, _head_from_z_up)


def _turned(mesh: Mesh, turn: Callable[[Points3], Points3]) -> Mesh:
    return replace(
        mesh,
        vertices=turn(mesh.vertices),
        blendshapes={name: turn(delta) for name, delta in mesh.blendshapes.items()},
    )


def _z_up_from_head(points: Points3) -> Points3:
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def _head_from_z_up(points: Points3) -> Points3:
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)
