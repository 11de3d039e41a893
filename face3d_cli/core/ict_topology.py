"""ICT-FaceKit's fixed mesh: which vertices and polygons are what, and where the 68 landmarks are.

Source: README of github.com/ICT-VGL/ICT-FaceKit at commit da5f95a, counted from 0. "Right" and
"left" are the subject's.
"""

from __future__ import annotations

from dataclasses import dataclass

NUM_VERTICES = 26719
NUM_POLYGONS = 26384
NUM_IDENTITIES = 100
NUM_EXPRESSIONS = 53


@dataclass(frozen=True)
class Part:
    """One geometry of the head.

    Attributes:
        first_vertex, end_vertex: its vertices, end not included. Polygons at the border of face,
            head, mouth and eye sockets also use vertices of their neighbour.
        first_polygon, end_polygon: its polygons, end not included.
        tile: UDIM tile of its texture coordinates, counted from 0.
    """

    first_vertex: int
    end_vertex: int
    first_polygon: int
    end_polygon: int
    tile: int

    @property
    def vertices(self) -> slice:
        """Its rows of a vertex array."""
        return slice(self.first_vertex, self.end_vertex)

    @property
    def polygons(self) -> slice:
        """Its rows of a polygon array."""
        return slice(self.first_polygon, self.end_polygon)


PARTS: dict[str, Part] = {
    "face": Part(0, 9409, 0, 9230, 0),
    "head_neck": Part(9409, 11248, 9230, 11144, 1),
    "mouth_socket": Part(11248, 13294, 11144, 13226, 1),
    "eye_socket_left": Part(13294, 13678, 13226, 13630, 1),
    "eye_socket_right": Part(13678, 14062, 13630, 14034, 1),
    "gums_tongue": Part(14062, 17039, 14034, 17006, 2),
    "teeth": Part(17039, 21451, 17006, 21496, 3),
    "sclera_left": Part(21451, 22221, 21496, 22296, 0),
    "iris_left": Part(22221, 23021, 22296, 23094, 0),
    "sclera_right": Part(23021, 23791, 23094, 23894, 0),
    "iris_right": Part(23791, 24591, 23894, 24692, 0),
    "lacrimal_left": Part(24591, 24795, 24692, 24855, 4),
    "lacrimal_right": Part(24795, 24999, 24855, 25018, 5),
    "eye_blend_left": Part(24999, 25023, 25018, 25033, 0),
    "eye_blend_right": Part(25023, 25047, 25033, 25048, 0),
    "eye_occlusion_left": Part(25047, 25199, 25048, 25176, 0),
    "eye_occlusion_right": Part(25199, 25351, 25176, 25304, 0),
    "eyelashes_left": Part(25351, 26035, 25304, 25844, 6),
    "eyelashes_right": Part(26035, 26719, 25844, 26384, 6),
}
NARROW_FACE = Part(0, 6706, 0, 6560, 0)  # the face without ears, neck and the back of the cheeks
LAST_LOWER_TEETH_VERTEX = 21450
FIRST_LOWER_TEETH_VERTEX = 19247

# Multi-PIE order, which is iBUG's. The jaw (0 to 16) is a fixed line on the mesh, as seen from the
# front; what a turned face shows as its outline lies elsewhere.
# fmt: off
LANDMARK_VERTICES: tuple[int, ...] = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966,
    3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509,
    978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841,
    5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)
# Another line along the jaw bone: it replaces landmarks 0 to 7 and 9 to 16.
RIGHT_JAWLINE: tuple[int, ...] = (1278, 1272, 12, 1834, 243, 781, 2199, 1447)
LEFT_JAWLINE: tuple[int, ...] = (3661, 4390, 3022, 2484, 4036, 2253, 3490, 3496)
# The same with the vertices in between.
RIGHT_LONG_JAWLINE: tuple[int, ...] = (
    1280, 1278, 1275, 1272, 1248, 12, 820, 1834, 1902, 243, 844, 781, 1673, 2199, 801, 1447, 800,
)
LEFT_LONG_JAWLINE: tuple[int, ...] = (
    3041, 3661, 3042, 4390, 3880, 3022, 3085, 2484, 4102, 4036, 3061, 2253, 3466, 3490, 3493, 3496,
    3498,
)
# fmt: on
