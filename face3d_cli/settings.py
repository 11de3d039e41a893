"""Every default value, once. Stages take these; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DetectorName = Literal["auto", "hog", "cnn", "yunet"]
FacesChoice = Literal["largest", "all"]
MethodName = Literal["auto", "surrey", "ict", "prnet"]
FaceModelName = Literal["surrey", "ict"]
TextureLayout = Literal["atlas", "udim"]
CameraName = Literal["auto", "orthographic", "perspective"]
FaceLayout = Literal["photo", "centred"]
PoseChoice = Literal["frontal", "image"]
MeshFormat = Literal["obj", "ply", "glb", "stl"]
Unit = Literal["m", "cm", "mm"]
RendererName = Literal["torch", "pytorch3d"]
PictureRenderer = Literal["torch", "pytorch3d", "mitsuba"]
PictureStyle = Literal["textured", "clay", "wireframe", "normals", "depth", "uv"]
LightingName = Literal["three-point", "soft", "photo", "none"]
MapModelName = Literal["prnet-resnet18", "prnet-mobilenetv2", "prnet-resfcn256"]
MeshInit = Literal["hemisphere", "surrey", "prnet"]
MeshParameters = Literal["vertices", "meshnet", "babymeshnet"]
OptimizerName = Literal["adam", "sgd"]
UpAxis = Literal["y", "z"]
TextureFormat = Literal["png", "jpeg"]
ClassSet = Literal["all", "fasseg"]
EncoderName = Literal["resfcn", "resnet18", "mobilenetv2"]
DecoderName = Literal["published", "light"]


@dataclass(frozen=True)
class ImageSettings:
    """How photos are read."""

    max_pixels: int = 178_956_970  # Pillow's own limit against decompression bombs


@dataclass(frozen=True)
class DetectionSettings:
    """How faces are found (`stages/detection.py`)."""

    detector: DetectorName = "auto"
    search_long_side_px: int = 640  # large photos are searched at this size first
    hog_max_side_px: int = 2000  # and then at their own size, up to these
    cnn_max_side_px: int = 1024
    hog_certain_score: float = 0.35  # from here on "auto" asks no other detector


@dataclass(frozen=True)
class LandmarkBoxSettings:
    """How HOG looks again at a face that it found weakly or not at all (`stages/landmark_box.py`).

    Attributes:
        below_score: of HOG's own boxes; stronger ones stay.
        margin: by which such a box must be beaten.
        min_score: of an answer to another detector's box; weaker than in a whole photo, because a
            face is known to be there.
        roll_deg: in-plane turns that are tried, from the given box's.
        face_px: side of the given box in the crop; HOG's smallest face is 80 px.
        max_shift: of the answer's middle, in sides of the given box.
        min_size: side of the answer, in sides of the given box.
    """

    below_score: float = 1.2
    margin: float = 0.3
    min_score: float = -0.5
    roll_deg: tuple[float, ...] = (0.0, -20.0, 20.0, -40.0, 40.0, -80.0, 80.0)
    face_px: int = 130
    max_shift: float = 0.4
    min_size: float = 0.7


@dataclass(frozen=True)
class LandmarkSettings:
    """How the 68 points are predicted (`stages/landmarks.py`)."""

    box: LandmarkBoxSettings = LandmarkBoxSettings()
    face_side_px: int = 200  # the face's box in the crop that the predictor sees
    # Boxes to take the median over: shifts to the right and down, in box widths.
    shifts: tuple[tuple[float, float], ...] = (
        (0.0, 0.0),
        (0.06, 0.0),
        (-0.06, 0.0),
        (0.0, 0.06),
        (0.0, -0.06),
    )


@dataclass(frozen=True)
class MorphableSettings:
    """How the Surrey Face Model is fitted (`stages/morphable.py`).

    Attributes:
        num_iterations: of pose, shape and expression in turn; more follow the landmarks' errors.
        num_shape_coefficients: None for all of the model's.
        pixel_regularisation: eos's `lambda_identity`, its own default: for landmarks that are off
            by pixels, whatever the size of the face.
        shape_regularisation: added to it for each square pixel of the landmarks' box: for errors
            that grow with the face. Both weights: `benchmarks/shape_regularisation.py`.
        landmark_offsets: take landmarks for where they lie, not for eos's nearest vertices.
        use_expressions: False for the neutral face.
    """

    num_iterations: int = 3
    num_shape_coefficients: int | None = None
    pixel_regularisation: float = 30.0
    shape_regularisation: float = 0.001
    landmark_offsets: bool = True
    use_expressions: bool = True


@dataclass(frozen=True)
class LinearFitSettings:
    """How a linear face model is fitted to points (`stages/linear_fit.py`).

    Lengths in the photo are fractions of the face's size, sqrt(w h) of its landmarks' box.

    Attributes:
        pose_steps, steps: Gauss-Newton steps for the pose alone, and for everything.
        landmark_offsets: whether landmarks lie beside the vertices that the model names for them.
        landmark_noise: standard deviation of a landmark that counts as one fact.
        jaw_noise: the same across the jaw's line; `jaw_slack` times that along it.
        opening_noise: of the distance between the lids, and between the lips.
        dense_noise, dense_depth_noise: of one dense point in the picture, and in depth.
        dense_slack: by which all dense points of a photo may be off together: of a shift, of the
            size, and in radians of a turn.
        robust_from: residuals beyond so many standard deviations count ever less.
        shape_spread: of a shape coefficient, in the model's standard deviations.
        expression_spread: of an expression's weight; `rare_factor` of it for the rare ones.
        asymmetry_spread: of the difference between an expression's left and right.
    """

    pose_steps: int = 5
    steps: int = 12
    landmark_offsets: bool = True
    landmark_noise: float = 0.015
    jaw_noise: float = 0.05
    jaw_slack: float = 3.0
    opening_noise: float = 0.015
    closed_lips: float = 0.02  # lips nearer than this are closed,
    closed_lids: float = 0.008  # and lids
    dense_noise: float = 0.25
    dense_depth_noise: float = 0.5
    dense_slack: float = 0.03
    robust_from: float = 3.0
    shape_spread: float = 1.0
    expression_spread: float = 0.4
    asymmetry_spread: float = 0.2
    # Landmarks say little or nothing of these; what moves would go to them instead of the shape.
    rare_factor: float = 0.25
    rare_expressions: tuple[str, ...] = (
        "jawForward", "jawLeft", "jawRight", "cheekPuff_L", "cheekPuff_R", "mouthClose",
        "noseSneer_L", "noseSneer_R", "mouthLeft", "mouthRight",
        "eyeLookDown_L", "eyeLookDown_R", "eyeLookIn_L", "eyeLookIn_R",
        "eyeLookOut_L", "eyeLookOut_R", "eyeLookUp_L", "eyeLookUp_R",
    )  # fmt: skip


@dataclass(frozen=True)
class CameraSettings:
    """What camera a head is fitted with (`stages/linear_fit.py`).

    Attributes:
        model: auto is a pinhole at the distance that the face's position map was seen from, and
            scaled-orthographic where there is no map, or one that tells no distance.
        field_of_view_deg: across the photo's longer side, of a perspective camera; about that of
            a telephone held upright.
    """

    model: CameraName = "auto"
    field_of_view_deg: float = 60.0


@dataclass(frozen=True)
class DensePointSettings:
    """Which points of a position map enter the linear fit (`stages/map_points.py`).

    Attributes:
        grid: the map's square has so many cells to a side, each of which gives one point.
        hidden_below, seen_from: cosine between normal and viewer from which on a point is half
            hidden, and from which on it is seen.
        hidden_weight: of points turned away from the viewer.
        map_landmarks_from_yaw_deg: from here on the map's landmarks replace the predicted ones,
        map_landmarks_from_roll_apart_deg: and where the line of their eyes is so far apart,
        map_landmark_weight: and count so much.
    """

    grid: int = 28
    hidden_below: float = 0.0
    seen_from: float = 0.4
    hidden_weight: float = 0.1
    map_landmarks_from_yaw_deg: float = 35.0
    map_landmarks_from_roll_apart_deg: float = 45.0
    map_landmark_weight: float = 0.1


@dataclass(frozen=True)
class TextureSettings:
    """How the photo is brought into the UV square (`stages/texture.py`)."""

    size_px: int = 1024  # 256 to 4096
    mask: bool = True  # leave hair, glasses and background out, by segmentation
    layout: TextureLayout = "atlas"  # of --method ict; "udim" is a texture for each tile, GLB only
    mask_px: int = 256  # size at which the segmentation sees the face
    depth_map_px: int = 192  # side of the z-buffer that decides what is hidden
    depth_slack: float = 0.015  # of the face's extent: nearer than this is the same surface
    facing_from: float = 0.25  # cosine to the viewer at which a texel begins to count as seen,
    facing_to: float = 0.6  # and from which it counts fully


@dataclass(frozen=True)
class HeadColors:
    """sRGB of what a photo does not show of a head, under even light (`stages/ict_texture.py`)."""

    sclera: tuple[int, int, int] = (226, 219, 212)
    iris: tuple[int, int, int] = (96, 68, 48)
    pupil: tuple[int, int, int] = (12, 10, 10)
    teeth: tuple[int, int, int] = (224, 214, 196)
    gums: tuple[int, int, int] = (186, 104, 98)
    mouth: tuple[int, int, int] = (92, 42, 40)


@dataclass(frozen=True)
class PictureSettings:
    """How a mesh is drawn (`stages/picture.py`).

    Attributes:
        size_px: width and height of a picture.
        supersampling: samples along each side of a pixel.
        margin: of the picture around the mesh, as a share of it.
        background: sRGB; None is transparent.
        samples: rays for each pixel, when Mitsuba draws.
    """

    style: PictureStyle = "textured"
    lighting: LightingName = "three-point"
    shadows: bool = True
    renderer: PictureRenderer = "torch"
    size_px: int = 640
    supersampling: int = 2
    margin: float = 0.08
    background: tuple[int, int, int] | None = (46, 48, 52)
    shadow_map_px: int = 512
    samples: int = 64
    turntable_frames: int = 48
    frames_per_second: int = 16


@dataclass(frozen=True)
class MeshFileSettings:
    """How mesh files are written (`io/mesh.py`)."""

    glb_texture: TextureFormat = "png"
    jpeg_quality: int = 95


@dataclass(frozen=True)
class SegmentationSettings:
    """How photos are divided into classes (`stages/segmentation.py`).

    Attributes:
        long_side_px: size at which the network sees a photo; None is the one it was taught at, 0
            the photo's own.
        face_px: size at which it sees the square around one face.
        face_margin: side of that square over the longer side of the face's box.
        tile_px: a side longer than this is seen in tiles of this size.
        tile_overlap_px: shared by neighbouring tiles, and faded from one into the other.
        class_balance: how far rare classes are preferred: 0 gives each pixel its most probable
            class, 1 treats all classes as if they were equally frequent.
    """

    long_side_px: int | None = None
    face_px: int = 352
    face_margin: float = 2.4
    tile_px: int = 1024
    tile_overlap_px: int = 128
    class_balance: float = 0.0


@dataclass(frozen=True)
class UNetSettings:
    """Shape of the segmentation network (`networks/unet.py`); stored beside its weights.

    Attributes:
        widths: channels of each level, finest first; its length is the depth plus one.
        stem_stride: pixels packed into channels before the first level (1: none).
        long_side_px: size of photos that it was taught to see.
    """

    num_classes: int = 18
    widths: tuple[int, ...] = (24, 48, 96, 160, 224)
    stem_stride: int = 2
    in_channels: int = 3
    long_side_px: int = 352

    @property
    def multiple(self) -> int:
        """Height and width that go in are padded to a multiple of this."""
        return self.stem_stride << (len(self.widths) - 1)


@dataclass(frozen=True)
class AugmentSettings:
    """How training photos are changed (`training/augment.py`); shares are probabilities."""

    scale: tuple[float, float] = (0.9, 1.7)  # long side of the photo over the crop's
    small_scale: tuple[float, float] = (0.25, 0.9)
    small_share: float = 0.15
    shift: float = 0.08  # of the crop's side
    usual_rotation_deg: float = 10.0  # standard deviation
    max_rotation_deg: float = 45.0
    steep_share: float = 0.2  # rotations drawn evenly up to the maximum
    background_share: float = 0.12
    occluder_share: float = 0.12
    color: float = 1.0
    grey_share: float = 0.12
    light_share: float = 0.2
    degrade_share: float = 0.15  # each of: low resolution, blur, noise, JPEG


@dataclass(frozen=True)
class LoopSettings:
    """How a network is optimised (`training/loop.py`)."""

    steps: int = 6000
    batch_size: int = 8
    learning_rate: float = 3e-3
    warmup_steps: int = 150
    weight_decay: float = 0.02
    ema_decay: float = 0.998
    gradient_limit: float = 5.0  # norm
    checkpoint_every: int = 250
    seed: int = 0
    num_threads: int = 2  # fixed, so that sums are taken in the same order
    use_bfloat16: bool | None = None  # None: where the device computes in it


@dataclass(frozen=True)
class SegmentationTrainingSettings:
    """How the segmentation U-Net is trained (`training/unet.py`).

    Attributes:
        class_set: what it learns: the eighteen classes, or FASSEG's six from FASSEG alone.
        crop_schedule: share of the steps from which on, and the side of the training photos: small
            ones first, which are quick and show all of a face, then finer ones.
    """

    class_set: ClassSet = "all"
    unet: UNetSettings = UNetSettings()
    augment: AugmentSettings = AugmentSettings()
    loop: LoopSettings = LoopSettings()
    crop_schedule: tuple[tuple[float, int], ...] = ((0.0, 160), (0.35, 256), (0.65, 352))
    stored_long_side_px: int = 512  # photos are kept in memory at this size
    detail_weight: float = 3.0  # cross-entropy of everything but background, skin, hair, clothes
    dice_weight: float = 0.5
    held_out_share: float = 0.0  # of the people of each folder, for choosing settings


# Going on from trained weights: full size from the start, photos closer to real ones.
SECOND_STAGE_TRAINING = SegmentationTrainingSettings(
    augment=AugmentSettings(
        scale=(0.95, 1.45),
        small_share=0.05,
        shift=0.05,
        usual_rotation_deg=6.0,
        steep_share=0.08,
        background_share=0.06,
        occluder_share=0.05,
        color=0.6,
        grey_share=0.06,
        light_share=0.1,
        degrade_share=0.08,
    ),
    loop=LoopSettings(steps=2000, learning_rate=1.5e-3, warmup_steps=50, ema_decay=0.99),
    crop_schedule=((0.0, 352),),
)

# FASSEG's own classes, after the second stage: finer still, and closer to the few photos it has.
FASSEG_TRAINING = SegmentationTrainingSettings(
    class_set="fasseg",
    unet=UNetSettings(num_classes=6, long_side_px=480),
    augment=AugmentSettings(
        scale=(0.95, 1.25),
        small_share=0.02,
        shift=0.05,
        usual_rotation_deg=6.0,
        steep_share=0.05,
        background_share=0.04,
        occluder_share=0.03,
        color=0.5,
        grey_share=0.04,
        light_share=0.1,
        degrade_share=0.08,
    ),
    loop=LoopSettings(steps=700, learning_rate=1.5e-3, warmup_steps=50, ema_decay=0.99),
    crop_schedule=((0.0, 448),),
    detail_weight=2.5,
)


@dataclass(frozen=True)
class PositionMapNetSettings:
    """Shape of a position map network (`networks/prnet.py`); stored beside its weights.

    Attributes:
        decoder: "published" is PRNet's, 32 times finer than the features; "light" gives small maps.
        input_px: side of the picture.
        widths: channels of the light decoder, coarsest first; its map has 4 * 2 ** (n - 1) texels.
        shapes: what the light decoder draws is reduced to what so many main shapes of the training
            data (and the mean face, moved and turned) can express.
        modes: of the Gaussian of faces that its maps are brought to (`stages/shape_prior.py`); 0
            leaves them as they are drawn.
        perspective: whether its maps show faces as near cameras do; those of older files do not.
    """

    encoder: EncoderName = "resnet18"
    decoder: DecoderName = "light"
    input_px: int = 128
    widths: tuple[int, ...] = (256, 160, 96, 64, 48)
    shapes: int = 64
    modes: int = 64
    perspective: bool = True

    @property
    def map_px(self) -> int:
        """Side of the map."""
        return self.input_px if self.decoder == "published" else 4 << (len(self.widths) - 1)


@dataclass(frozen=True)
class LookSettings:
    """How far from upright and centred a position map network sees a face.

    Attributes:
        scale: how much larger or smaller than usual it appears, as standard deviation of the
            logarithm.
        shift: standard deviation, in sides of the picture.
        roll_deg: standard deviation of most in-plane turns.
        steep_share: of turns that are even up to `max_roll_deg` instead.
    """

    scale: float
    shift: float
    roll_deg: float
    steep_share: float = 0.0
    max_roll_deg: float = 0.0


@dataclass(frozen=True)
class PositionMapTrainingSettings:
    """How a position map network is trained (`training/prnet.py`); shares are probabilities.

    Attributes:
        first_look: how far off the square around a detector's box sits.
        next_look: how far off the square around the face that a pass before found sits.
        first_look_share: of samples moved as for the first look; what the last look sees decides
            how good the map is, what the first sees whether there is one.
        photo_share: of samples that are photos as they are, not turned in depth,
        sideways_share: and of these photos, those that look sideways,
        sideways_from_deg: which are those from this yaw on.
        occluder_share, cut_share, shadow_share: of those with an object in front, with a side cut
            off, with a side in shadow.
        picture_occluder_share: of objects in front that are made of parts of other samples.
        landmark_weight: of the mean distance of the 68 points in the picture, beside the map's.
        neck_weight: of the neck in the map's loss; the publication has 0.
        held_out_share: of the photos, for choosing settings.
    """

    network: PositionMapNetSettings = PositionMapNetSettings()
    loop: LoopSettings = LoopSettings(
        steps=7000, batch_size=32, learning_rate=2e-3, warmup_steps=300, weight_decay=0.02
    )
    augment: AugmentSettings = AugmentSettings(color=0.9, light_share=0.25)
    first_look: LookSettings = LookSettings(
        scale=0.15, shift=0.06, roll_deg=14.0, steep_share=0.3, max_roll_deg=60.0
    )
    next_look: LookSettings = LookSettings(scale=0.05, shift=0.02, roll_deg=4.0)
    first_look_share: float = 0.4
    photo_share: float = 0.35
    sideways_share: float = 0.35
    sideways_from_deg: float = 20.0
    occluder_share: float = 0.25
    picture_occluder_share: float = 0.5
    cut_share: float = 0.1
    shadow_share: float = 0.12
    landmark_weight: float = 1.0
    neck_weight: float = 0.5
    held_out_share: float = 0.03


@dataclass(frozen=True)
class ClosenessSettings:
    """How near cameras are: 1 / distance in centimetres (`stages/shape_prior.py`).

    Attributes:
        mean_per_cm, spread_per_cm: a Gaussian.
        largest_per_cm: nobody is photographed from nearer.
    """

    mean_per_cm: float = 0.01
    spread_per_cm: float = 0.006
    largest_per_cm: float = 0.03


@dataclass(frozen=True)
class PositionMapSettings:
    """How position maps are regressed (`stages/position_map.py`).

    Attributes:
        model: name of the registered network.
        weights: a weights file of one's own instead.
        passes: how often the network looks; from the second time on at the square that it found.
        boxes: for each detector, the side of the first square over the box's (the root of its
            area), and how far its centre lies below the box's, in sides.
        mesh_px: side of the map whose texels are the mesh's vertices.
        noise_mm: how little a map is trusted against the Gaussian of faces,
        closeness: and of cameras.
        doubt_from: how far landmarks seen in the mirror are from those seen straight, over the
            square's side, when the face is looked at again, turned by quarters,
        sure_below: and when such another look is believed, if the first leaves twice its doubt:
            faces that are merely hard to see, and were understood, have doubts about 0.02, too.
    """

    model: MapModelName = "prnet-resnet18"
    weights: str | None = None
    passes: int = 2
    boxes: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "hog": (1.4, 0.075),
            "cnn": (1.42, 0.072),
            "yunet": (1.45, 0.073),
            "landmarks": (1.6, 0.0),
            "box": (1.45, 0.05),
        },
        hash=False,
    )
    mesh_px: int = 128
    noise_mm: float = 0.3
    closeness: ClosenessSettings = ClosenessSettings()
    doubt_from: float = 0.015
    sure_below: float = 0.015


@dataclass(frozen=True)
class LabelFitSettings:
    """Which face lies behind a labelled photo, and when it is dropped (`training/synth/fit.py`).

    Attributes:
        linear: how points pull at the face; spread of expressions and noise of the points were
            chosen on several photos of the same people (`docs/benchmarks.md`, Position maps).
        camera_cm: how far away the camera is; a photo does not tell, but infinitely far it is not.
        turn_spread_deg: how well the teacher's points, as a rigid body, tell the head's turn.
        head_share: where a second teacher saw the head too, how far the turn goes over to its,
        agreed_turn_spread_deg: how well both together tell it,
        jaw_weight: and how much more each point of its jaw counts than one of the first's.
        max_error: mean distance of the teacher's points over sqrt(w h) of the inner landmarks' box,
            beyond which a photo is dropped.
        max_spread_mm: a point that wanders more between photos is not used,
        max_snap_mm: nor one that is farther from any vertex.
        num_learning_photos, learning_yaw_deg: of how many photos places are learnt, how frontal.
        predicted_yaw_deg: up to here dlib's landmarks are taken,
        max_disagreement: if its eyes and mouth are no farther from the teacher's (of the box).
    """

    linear: LinearFitSettings = field(
        default_factory=lambda: LinearFitSettings(
            expression_spread=0.25, dense_noise=0.12, dense_depth_noise=0.5
        )
    )
    camera_cm: float = 150.0
    turn_spread_deg: float = 1.5
    head_share: float = 0.5
    agreed_turn_spread_deg: float = 1.0
    jaw_weight: float = 6.0
    max_error: float = 0.04
    max_spread_mm: float = 2.5
    max_snap_mm: float = 1.0
    num_learning_photos: int = 300
    learning_yaw_deg: float = 12.0
    predicted_yaw_deg: float = 25.0
    max_disagreement: float = 0.045


@dataclass(frozen=True)
class SynthSettings:
    """How training samples are made of labelled photos (`training/synth`).

    Attributes:
        turned_per_photo: pictures turned in depth, beside the photo itself; twice as many when the
            photo shows a side of the head,
        sideways_from_deg: which it does from this yaw on.
        yaw_deg: range that the head is turned to, either way.
        pitch_deg: standard deviation of the turn up or down.
        nearest_camera_cm: the camera of a turned picture is between here and infinitely far away
            (its inverse is evenly distributed).
        shape_spread: of what is added to the shape of a turned head, in the model's standard
            deviations.
        relight: strongest change of light.
        new_sides_share: of turned pictures whose sides are painted anew,
        hair_share: and of turned pictures that get another haircut, whatever their sides.
        clutter_share: of turned pictures before parts of what surrounds faces in other photos,
        filler_share: and before a picture without a face; the others have their own rim behind.
        num_surroundings_photos: how many photos are looked through for surroundings of faces
        surroundings_from_px: that are so wide and high,
        surroundings_px: reduced to this short side.
        fit: of the face behind each photo.
    """

    turned_per_photo: int = 3
    sideways_from_deg: float = 20.0
    yaw_deg: tuple[float, float] = (0.0, 92.0)
    pitch_deg: float = 15.0
    nearest_camera_cm: float = 50.0
    shape_spread: float = 0.8
    relight: float = 0.6
    new_sides_share: float = 0.5
    hair_share: float = 0.5
    clutter_share: float = 0.5
    filler_share: float = 0.25
    num_surroundings_photos: int = 1200
    surroundings_from_px: int = 48
    surroundings_px: int = 200
    seed: int = 0
    fit: LabelFitSettings = field(default_factory=LabelFitSettings)


@dataclass(frozen=True)
class RefineSettings:
    """How a fitted mesh is refined by shading (`stages/refine.py`).

    Brightness is meant as its natural logarithm: 0.1 is about ten percent.

    Attributes:
        size_px: side of the square in which the face is looked at.
        rounds: of estimating the light and then the shape.
        spread: how far a shape coefficient is expected to move, in standard deviations of the
            model,
        agreement: and how much the displacements that each half of the face asks for must be alike
            (cosine), or else nothing moves; both chosen on rendered faces (`docs/meshnet.md`).
        noise: what a pixel of skin differs by for no reason: spots, pores, stubble.
        albedo_spread: what skin differs by in the large,
        albedo_reach_mm: and over which distance it is alike.
        light_error: standard deviation of the light's harmonics after they were estimated.
        outlier_from: standard deviations from which on a pixel is trusted less.
    """

    size_px: int = 40
    rounds: int = 2
    spread: float = 0.15
    agreement: float = 0.9
    noise: float = 0.3
    albedo_spread: float = 0.15
    albedo_reach_mm: float = 25.0
    light_error: float = 3.0
    outlier_from: float = 1.25


@dataclass(frozen=True)
class MeshLossWeights:
    """How much each loss counts in `stages/meshnet.py`; lengths in half-widths of the crop."""

    mse: float = 0.5
    perceptual: float = 0.6
    chamfer: float = 15.0  # to the template
    edge: float = 1.0
    normal: float = 0.01  # consistency of neighbouring triangles
    laplacian: float = 0.1
    silhouette: float = 0.0


@dataclass(frozen=True)
class MeshNetSettings:
    """How a mesh is optimised to one photo (`stages/meshnet.py`).

    Attributes:
        parameters: what is optimised: the vertices themselves, or a network that gives them.
        smoothing: strength of the diffusion that turns a step of single vertices into a smooth
            one; 0 moves every vertex on its own.
        color_smoothing: the same for the vertices' colours.
        crop_margin: side of the square that is looked at over the face's size.
        prnet_mesh_px: side of the position map that a mesh of `--init prnet` is made of.
        patience: steps without a new best loss after which the run stops.
        recolor_steps: of the colours alone, by pixels, on the mesh as it is in the end.
    """

    init: MeshInit = "surrey"
    parameters: MeshParameters = "vertices"
    size_px: int = 128
    coarse_share: float = 0.3  # of the steps, at half the size
    steps: int = 300
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-3
    color_learning_rate: float = 3e-2
    smoothing: float = 30.0
    color_smoothing: float = 1.0
    crop_margin: float = 1.25
    prnet_mesh_px: int = 64
    patience: int = 60
    recolor_steps: int = 60
    checkpoint_every: int = 25  # steps
    seed: int = 0
    renderer: RendererName = "torch"
    weights: MeshLossWeights = MeshLossWeights()


@dataclass(frozen=True)
class TurnedFaceSettings:
    """When `--method auto` takes the position map, not the Surrey model (`pipeline/single.py`).

    Chosen on the training photos of FASSEG's multipose01, whose yaw is known: to 30 degrees both
    agree; beyond 45 the landmarks that Surrey is fitted to often show a face that looks ahead.

    Attributes:
        doubt_from_yaw_deg: from here on, or where another detector than HOG (which finds upright
            faces near the front) found the face, the map is asked.
        map_from_yaw_deg: of the map, from which on it is taken.
        map_from_roll_apart_deg: between map and landmarks, from which on it is taken: landmarks are
            looked for in a face as the detector has it, the map at any turn.
    """

    doubt_from_yaw_deg: float = 30.0
    map_from_yaw_deg: float = 35.0
    map_from_roll_apart_deg: float = 45.0


@dataclass(frozen=True)
class ReconstructSettings:
    """Everything that decides what a reconstruction gives."""

    method: MethodName = "auto"
    turned: TurnedFaceSettings | None = TurnedFaceSettings()  # None: auto never looks at the pose
    pose: PoseChoice = "frontal"  # "image" keeps the head turned as in the photo
    image: ImageSettings = ImageSettings()
    detection: DetectionSettings = DetectionSettings()
    landmarks: LandmarkSettings = LandmarkSettings()
    morphable: MorphableSettings = MorphableSettings()
    linear: LinearFitSettings = LinearFitSettings()  # of --method ict
    # Of --method ict, from the map of `position_map`; None fits the 68 landmarks alone.
    dense: DensePointSettings | None = DensePointSettings()
    camera: CameraSettings = CameraSettings()  # of --method ict
    position_map: PositionMapSettings = PositionMapSettings()  # of --method prnet, ict
    texture: TextureSettings | None = TextureSettings()  # None: no texture is made
    refine: RefineSettings | None = None  # by shading; None leaves the fitted mesh as it is


@dataclass(frozen=True)
class BatchSettings:
    """How many photos are worked on side by side (`pipeline/supervise.py`).

    Attributes:
        jobs: workers; None is one for each core, or for each that the cluster has.
        timeout_s: for one photo; a worker that takes longer is killed and the photo has failed.
        start_timeout_s: until the first worker must be ready.
        attempts: how often a photo is begun whose worker dies.
    """

    jobs: int | None = None
    timeout_s: float = 600.0
    start_timeout_s: float = 180.0
    attempts: int = 2
