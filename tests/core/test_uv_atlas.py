"""Texels of a topology: where they lie, and what lies beyond its edge."""

from __future__ import annotations

import numpy as np

from face3d_cli.core.uv_atlas import UvAtlas

UV = np.array([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]])
SQUARE = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_baking_uv_gives_each_texel_its_own_centre():
    size = 50
    atlas = UvAtlas(UV, SQUARE, size)
    baked = atlas.bake(UV)
    rows, columns = np.nonzero(atlas.is_inside)
    np.testing.assert_allclose(baked[rows, columns, 0], (columns + 0.5) / size, atol=1e-6)
    np.testing.assert_allclose(baked[rows, columns, 1], 1 - (rows + 0.5) / size, atol=1e-6)
    assert atlas.is_inside.sum() == 30 * 30


def test_texels_off_the_mesh_continue_its_edge():
    atlas = UvAtlas(UV, SQUARE, 50)
    baked = atlas.bake(UV)
    np.testing.assert_allclose(baked[25, 0], baked[25, 10], atol=1e-6)
    np.testing.assert_allclose(baked[0, 0], baked[10, 10], atol=1e-6)


def test_mirror_symmetry_is_seen():
    assert UvAtlas(UV, SQUARE, 50).is_mirror_symmetric
    assert not UvAtlas(UV * (0.9, 1.0), SQUARE, 50).is_mirror_symmetric
