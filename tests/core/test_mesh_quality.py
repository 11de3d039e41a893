import numpy as np

from face3d_cli.core.mesh_quality import crossing_triangles, flipped_triangles, unfold
from face3d_cli.core.primitives import hemisphere, icosphere


def test_sound_meshes_have_no_bad_triangles() -> None:
    for mesh in (icosphere(3), hemisphere(12, 24)):
        assert not crossing_triangles(mesh.vertices, mesh.triangles).any()
        assert not flipped_triangles(mesh.vertices * 1.3, mesh.vertices, mesh.triangles).any()


def test_a_vertex_pushed_through_the_other_side_crosses() -> None:
    mesh = icosphere(3)
    vertices = mesh.vertices.copy()
    vertices[0] *= -1.2
    crossing = crossing_triangles(vertices, mesh.triangles)
    around = (mesh.triangles == 0).any(axis=1)
    assert crossing[around].all()
    assert crossing[~around].any()
    assert crossing.sum() < 0.1 * len(crossing)


def test_two_crossing_triangles_by_hand() -> None:
    flat = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]])
    upright = np.array([[1.0, 1, -1], [1, 1, 1], [2, 1, 1]])
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    assert crossing_triangles(np.concatenate([flat, upright]), triangles).all()
    assert not crossing_triangles(
        np.concatenate([flat, upright + np.array([0, 0, 1.5])]), triangles
    ).any()
    assert not crossing_triangles(
        np.concatenate([flat, upright + np.array([3, 3, 0])]), triangles
    ).any()


def test_a_vertex_pushed_over_its_neighbour_flips() -> None:
    mesh = hemisphere(10, 16)
    vertices = mesh.vertices.copy()
    vertices[0] = vertices[17] * 1.02  # the pole onto the second ring: over the first
    flipped = flipped_triangles(vertices, mesh.vertices, mesh.triangles)
    assert 1 <= flipped.sum() <= 16
    assert not flipped[(mesh.triangles != 0).all(axis=1)].any()


def test_unfolding_repairs_folds_and_leaves_the_rest() -> None:
    mesh = hemisphere(16, 32)
    generator = np.random.default_rng(0)
    vertices = mesh.vertices * 1.1
    folded = generator.choice(200, 12, replace=False)  # near the pole
    vertices[folded] += generator.normal(size=(12, 3)) * 0.3
    bad = flipped_triangles(vertices, mesh.vertices, mesh.triangles)
    assert bad.any()
    repaired = unfold(vertices, mesh.vertices, mesh.triangles)
    assert not flipped_triangles(repaired, mesh.vertices, mesh.triangles).any()
    assert not crossing_triangles(repaired, mesh.triangles).any()
    np.testing.assert_array_equal(repaired[-64:], vertices[-64:])
    sound = mesh.vertices * (1.2, 0.9, 1.0)
    np.testing.assert_allclose(unfold(sound, mesh.vertices, mesh.triangles), sound)


def test_triangles_with_a_common_corner_can_cross() -> None:
    shared, flat = [0.0, 0, 0], [[4.0, 0, 0], [0, 4, 0]]
    through = [[2.0, 1, -1], [1, 2, 1]]
    aside = [[2.0, 1, 1], [1, 2, 2]]
    triangles = np.array([[0, 1, 2], [0, 3, 4]], np.int32)
    assert crossing_triangles(np.array([shared, *flat, *through]), triangles).all()
    assert not crossing_triangles(np.array([shared, *flat, *aside]), triangles).any()


def test_what_smoothing_cannot_mend_goes_back() -> None:
    """A small dome is pushed as a whole through a large one: its displacement is even already."""
    dome = hemisphere(8, 16)
    before = np.concatenate([dome.vertices, 0.5 * dome.vertices])
    triangles = np.concatenate([dome.triangles, dome.triangles + len(dome.vertices)])
    pushed = before + np.repeat([[0.0, 0, 0], [0.7, 0, 0]], len(dome.vertices), axis=0)
    assert crossing_triangles(pushed, triangles).any()
    repaired = unfold(pushed, before, triangles)
    assert not crossing_triangles(repaired, triangles).any()
    assert not flipped_triangles(repaired, before, triangles).any()
