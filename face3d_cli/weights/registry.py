"""Which models exist: their files, pinned addresses and hashes, terms, paper and preprocessing.

The project's own networks are listed in `models/SHA256SUMS` (the format of `sha256sum`), beside the
weights, so that training one again changes no code: a file belongs to the model whose name is the
part before its first dot.
"""

# ruff: noqa: E501 - the tables hold one file per line

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from face3d_cli.errors import ModelError

Origin = Literal["download", "package", "shipped"]

_EOS = "https://raw.githubusercontent.com/patrikhuber/eos/ce984207a51c2edd2e7568a64fec9b98ef61aeed/share/"
_ICT = (
    "https://raw.githubusercontent.com/ICT-VGL/ICT-FaceKit/"
    "da5f95a607f5e6b37755b38d3385d7f2853732e5/FaceXModel/"
)
_PRNET = "mrizwan18/Face3D-API/3be47cd3db3aebf85ac4a4e7ab4843128650de0b/Data/"
_PRNET_UV = f"https://raw.githubusercontent.com/{_PRNET}uv-data/"
_PRNET_NET = f"https://raw.githubusercontent.com/{_PRNET}net-data/"
_PRNET_LFS = f"https://media.githubusercontent.com/media/{_PRNET}net-data/"
_YUNET = (
    "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/"
)


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    Attributes:
        name: file name, the same upstream, in a mirror and in the store.
        size: bytes; None for a shipped file, whose hash alone is recorded.
        sha256: of the whole file, hexadecimal.
        url: where it is published, or "" when it is not published as one file.
    """

    name: str
    size: int | None
    sha256: str
    url: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """What is known about a model before any of it is read.

    Attributes:
        name: what commands call it, and its folder in the store and in a mirror.
        what: one line.
        origin: "download" into the store, a Python "package", or "shipped" with face3d.
        files: all of them are needed.
        sources: the published files that `files` are made from once, where they are not published
            themselves; they are not kept.
        bundle: an archive of the published files that a mirror may hold instead.
        homepage: where people read about it, or its pinned upstream folder.
        licence: terms of the model (not of the code that reads it).
        licence_url: where those terms stand.
        non_commercial: whether the terms forbid commercial use.
        paper: citation.
        preprocessing: what input it expects.
        needed_for: what does not work without it.
    """

    name: str
    what: str
    origin: Origin
    files: tuple[ModelFile, ...]
    homepage: str
    licence: str
    licence_url: str
    non_commercial: bool
    paper: str
    preprocessing: str
    needed_for: str
    sources: tuple[ModelFile, ...] = ()
    bundle: ModelFile | None = None

    @property
    def published(self) -> tuple[ModelFile, ...]:
        """The files that are pulled."""
        return self.sources or self.files


def _files(folder_url: str, table: str) -> tuple[ModelFile, ...]:
    """Files published in one folder, "" for none; one `SIZE SHA256 NAME` per line."""
    rows = (line.split() for line in table.split("\n") if line.strip())
    return tuple(
        ModelFile(name, int(size), sha256, folder_url and folder_url + name)
        for size, sha256, name in rows
    )


def _trained_here(name: str, what: str, paper: str, needed_for: str) -> ModelSpec:
    """Weights that ship with face3d; `models/SHA256SUMS` names their files."""
    return ModelSpec(
        name=name,
        what=what,
        origin="shipped",
        files=(),
        homepage="",
        licence="Apache-2.0 weights, trained on photos that are for research only",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        non_commercial=True,
        paper=paper,
        preprocessing="see the model card beside the weights",
        needed_for=needed_for,
    )


_MODELS = (
    ModelSpec(
        name="dlib",
        what="HOG and CNN face detectors, 5- and 68-point landmark predictors",
        origin="package",
        files=_files(
            "",
            """
            729940 4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6 mmod_human_face_detector.dat
            9150489 c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888 shape_predictor_5_face_landmarks.dat
            99693937 fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f shape_predictor_68_face_landmarks.dat
            """,
        ),
        homepage="https://github.com/davisking/dlib-models",
        licence="CC0 / Boost; the 68-point predictor is non-commercial (trained on 300-W)",
        licence_url="https://github.com/davisking/dlib-models/blob/master/README.md",
        non_commercial=True,
        paper=(
            "King, Max-Margin Object Detection, 2015; Kazemi and Sullivan, One Millisecond Face "
            "Alignment with an Ensemble of Regression Trees, CVPR 2014"
        ),
        preprocessing="RGB uint8; the 68-point predictor expects boxes of the HOG detector",
        needed_for="landmarks, and so every method that starts from them",
    ),
    ModelSpec(
        name="surrey",
        what="Surrey Face Model: 3448 vertices, 63 shape components, 6 expression blendshapes",
        origin="download",
        files=_files(
            _EOS,
            """
            2784392 43750338ae533e7fb981e924b6f67ebde3d292f15ec4fc886ae5af14308ad980 sfm_shape_3448.bin
            248400 a77c81712fc5e8b08a1be4cd2824d51514e5bde6578109ae5240dfb3489efd43 expression_blendshapes_3448.bin
            3166 810810c457184526c7d54305ecbc5da764e2431b5e66025d921a7d424aebfac9 ibug_to_sfm.txt
            679 c9e69bfa995ab19ac6b27abb07729eb0520a00bb192be12426ca6bce76f3fded sfm_model_contours.json
            1861240 5934e5ec34dd6779fda06d28a1f8d02ca9a238bff882e5ccd6da5af9fffe61d5 sfm_3448_edge_topology.json
            45107 1ac929fc7db5a2ec5a1bc9160b92cf8478a360866422a35105717dbc5992ca56 sfm_reference.obj
            3447 d26e02dbb2cf72bfa88bc6bf6f175bf261bae7aff00509cc0ff277675f2fff47 sfm_reference_symmetry.txt
            """,
        ),
        homepage="https://github.com/patrikhuber/eos",
        licence="free for non-commercial purposes (University of Surrey)",
        licence_url="https://github.com/patrikhuber/eos#license--contributions",
        non_commercial=True,
        paper=(
            "Huber et al., A Multiresolution 3D Morphable Face Model and Fitting Framework, "
            "VISAPP 2016"
        ),
        preprocessing="68 iBUG landmarks in image pixels",
        needed_for="face3d fit, reconstruct --method surrey and meshnet",
    ),
    ModelSpec(
        name="ict-facekit",
        what="ICT-FaceKit Light: whole head, 26719 vertices, 100 identity and 53 expression shapes",
        origin="download",
        files=_files(
            "",
            """
            20717396 c61e08d0795fc7ded37e46af25af5052b0c30ca1562a531f4faae9b3ae0679b2 ict-facekit.safetensors
            """,
        ),
        sources=_files(
            _ICT, (Path(__file__).parent / "ict_facekit_files.txt").read_text(encoding="ascii")
        ),
        bundle=ModelFile(
            "FaceXModel.tar.xz",
            26763544,
            "39096b7eaab11438d8d1da2ad55016161e272e7ca24132851811416d973144ba",
        ),
        homepage=(
            "https://github.com/ICT-VGL/ICT-FaceKit/tree/"
            "da5f95a607f5e6b37755b38d3385d7f2853732e5/FaceXModel"
        ),
        licence="MIT",
        licence_url="https://github.com/ICT-VGL/ICT-FaceKit/blob/master/LICENSE",
        non_commercial=False,
        paper="Li et al., Learning Formation of Physically-Based Face Attributes, CVPR 2020",
        preprocessing="68 landmarks in image pixels; model unit centimetres",
        needed_for="fit --model ict and reconstruct --method ict",
    ),
    ModelSpec(
        name="prnet-resfcn256",
        what="the published PRNet weights (TensorFlow checkpoint) and its UV tables",
        origin="download",
        files=_files(
            _PRNET_UV,
            """
            1052888 724ceae7e9be10a86670159f3cdc4a4abd5bd8d3c29a475c17115b6ada55112c canonical_vertices.npy
            1096675 86a7ce5131d3c827c368fd3c1236ded6b5d80802f1abd5cf98940ba0595ab231 face_ind.txt
            3400 158f329a0e5518b7553195cf2373f91b9ada697b6071cdafb52b573d488a1c60 uv_kpt_ind.txt
            859 66e0c5e555619d708202639058adbeece545b67fef52a22eabd46cc71494a6c6 uv_face_mask.png
            2148 a97882fbac6920ad08c6e314ea327db2b0a7d7fbf6a6a56be5e696b66fde0ae7 uv_weight_mask.png
            """,
        )
        + _files(
            _PRNET_NET,
            """
            20319 cb88192fcf744b8e26d1ea6a2681cd90f102a2d977ab1bac3026bdf4ce785744 256_256_resfcn256_weight.index
            """,
        )
        + _files(
            _PRNET_LFS,
            """
            160290984 59d338bf0c21b10be813f17f84042c9d3a5bf318e588855ff2b2c041c25bb91a 256_256_resfcn256_weight.data-00000-of-00001
            """,
        ),
        homepage="https://github.com/YadiraF/PRNet",
        licence="code MIT; weights for research purposes only",
        licence_url="https://github.com/YadiraF/PRNet/issues/28",
        non_commercial=True,
        paper=(
            "Feng et al., Joint 3D Face Reconstruction and Dense Alignment with Position Map "
            "Regression Network, ECCV 2018"
        ),
        preprocessing="RGB crop of 256 x 256 px, divided by 255",
        needed_for="prnet with the published weights",
    ),
    ModelSpec(
        name="yunet",
        what="YuNet, an optional third face detector",
        origin="download",
        files=_files(
            _YUNET,
            """
            322906 104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12 yunet_n_dynamic.onnx
            """,
        ),
        homepage="https://github.com/ShiqiYu/libfacedetection.train",
        licence="Apache-2.0",
        licence_url="https://github.com/ShiqiYu/libfacedetection.train/blob/master/LICENSE",
        non_commercial=False,
        paper="Wu et al., YuNet: A Tiny Millisecond-level Face Detector, MIR 2023",
        preprocessing="BGR uint8 of any size, through cv2.FaceDetectorYN",
        needed_for="--detector yunet",
    ),
    ModelSpec(
        name="vgg19",
        what="VGG-19 of torchvision, for the perceptual loss",
        origin="download",
        files=_files(
            "https://download.pytorch.org/models/",
            """
            574673361 dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44 vgg19-dcbb9e9d.pth
            """,
        ),
        homepage="https://pytorch.org/vision/stable/models/vgg.html",
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        licence_url="https://github.com/pytorch/vision/blob/main/LICENSE",
        non_commercial=False,
        paper=(
            "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image "
            "Recognition, ICLR 2015"
        ),
        preprocessing=(
            "RGB in 0 to 1, minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225)"
        ),
        needed_for="the perceptual loss of meshnet",
    ),
    _trained_here(
        name="unet-face",
        what="U-Net that labels the parts of a face, trained by this project",
        paper="Ronneberger et al., U-Net, MICCAI 2015 (architecture)",
        needed_for="face3d segment",
    ),
    _trained_here(
        name="prnet-resnet18",
        what="position map network with a ResNet-18 encoder, trained by this project",
        paper=(
            "Feng et al., Joint 3D Face Reconstruction and Dense Alignment with Position Map "
            "Regression Network, ECCV 2018; He et al., ResNet, CVPR 2016 (architecture)"
        ),
        needed_for="prnet, and reconstruct --method prnet",
    ),
    _trained_here(
        name="prnet-mobilenetv2",
        what="smaller position map network with a MobileNetV2 encoder, trained by this project",
        paper=(
            "Feng et al., Joint 3D Face Reconstruction and Dense Alignment with Position Map "
            "Regression Network, ECCV 2018; Sandler et al., MobileNetV2, CVPR 2018 (architecture)"
        ),
        needed_for="prnet --model prnet-mobilenetv2",
    ),
    _trained_here(
        name="unet-fasseg",
        what="U-Net that labels FASSEG's six classes as its annotators did, trained by this project",
        paper="Ronneberger et al., U-Net, MICCAI 2015 (architecture)",
        needed_for="face3d segment --classes fasseg",
    ),
)

# What each reconstruction method reads; `doctor` and `licenses` follow it.
MODELS_OF_METHOD: dict[str, tuple[str, ...]] = {
    "surrey": ("dlib", "surrey"),
    "ict": ("dlib", "ict-facekit"),
    "prnet": ("dlib", "prnet-resnet18"),
    "prnet-mobilenetv2": ("dlib", "prnet-mobilenetv2"),
    "prnet-published": ("dlib", "prnet-resfcn256"),
    "meshnet-surrey": ("dlib", "surrey", "unet-face"),
    "meshnet-hemisphere": ("dlib", "unet-face"),
    "meshnet-prnet": ("dlib", "prnet-resnet18", "unet-face"),
}
# What a method also reads by default where it is there, and does without where it is not.
HELPERS_OF_METHOD: dict[str, tuple[str, ...]] = {
    "surrey": ("unet-face",),
    "ict": ("prnet-resnet18", "unet-face"),
    "prnet": ("unet-face",),
}


def models_binding(method: str) -> tuple[str, ...]:
    """The models whose terms bind results of a method as it runs by default."""
    helpers = HELPERS_OF_METHOD.get(method, ())
    return (*MODELS_OF_METHOD[method], *helpers)


def model_names() -> list[str]:
    """Every registered model, in the order they are listed."""
    return [spec.name for spec in _MODELS]


def model_spec(name: str) -> ModelSpec:
    """The entry of one model; the files of a shipped one are read from `SHA256SUMS`.

    Raises:
        ModelError: there is no such model, or the list of the shipped files is damaged.
    """
    for spec in _MODELS:
        if spec.name == name:
            return replace(spec, files=_shipped_files(name)) if spec.origin == "shipped" else spec
    raise ModelError(
        f"there is no model named '{name}'", hint=f"expected one of {', '.join(model_names())}"
    )


def shipped_folder() -> Path:
    """Where the project's own weights are: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


def _shipped_files(name: str) -> tuple[ModelFile, ...]:
    sums = shipped_folder() / "SHA256SUMS"
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as problem:
        raise ModelError(f"cannot read {sums}: {problem}", hint="install face3d again") from problem
    files = []
    for number, line in enumerate(lines, start=1):
        sha256, _, file_name = line.partition("  ")
        if len(sha256) != 64 or not file_name:
            raise ModelError(
                f"{sums}, line {number}: expected 'SHA256  FILE', found '{line[:80]}'",
                hint="write it with: sha256sum *.safetensors *.onnx > SHA256SUMS",
            )
        if file_name.split(".", 1)[0] == name:
            files.append(ModelFile(file_name, None, sha256))
    return tuple(files)


def licence_records(names: Iterable[str]) -> list[dict[str, str]]:
    """The terms that bind a result made with these models, as the JSON report states them."""
    return [
        {"what": spec.name, "licence": spec.licence, "url": spec.licence_url}
        for spec in map(model_spec, names)
    ]
