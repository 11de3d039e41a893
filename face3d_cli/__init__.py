"""face3d: every face of a photo as a textured mesh.

    import face3d_cli
    face3d_cli.reconstruct("photo.jpg").save("face.glb")

Importing this package is quick: the names below are loaded on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from face3d_cli.version import __version__

if TYPE_CHECKING:
    from face3d_cli.pipeline.result import Reconstruction as Reconstruction
    from face3d_cli.pipeline.single import reconstruct as reconstruct

_HOMES = {
    "Reconstruction": "face3d_cli.pipeline.result",
    "reconstruct": "face3d_cli.pipeline.single",
}
__all__ = ["Reconstruction", "__version__", "reconstruct"]


def __getattr__(name: str) -> Any:
    """Load a public name from its home the first time it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'face3d_cli' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
