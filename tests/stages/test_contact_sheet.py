from __future__ import annotations

from dataclasses import replace

import numpy as np

from face3d_cli.core.primitives import hemisphere
from face3d_cli.stages.contact_sheet import render_view


def test_a_mesh_without_texture_shows_its_vertex_colors() -> None:
    dome = hemisphere(16, 32)
    grey = render_view(dome, 0.0, 64)
    right = dome.vertices[:, 0] > 0
    colors = np.where(right[:, None], (250, 20, 20), (20, 20, 250)).astype(np.uint8)
    picture = render_view(replace(dome, vertex_colors=colors), 0.0, 64).astype(int)
    assert (picture[32, 44] - picture[32, 44, ::-1])[0] > 100  # red on the right
    assert (picture[32, 20] - picture[32, 20, ::-1])[0] < -100  # blue on the left
    assert np.ptp(grey[32, 32]) == 0
