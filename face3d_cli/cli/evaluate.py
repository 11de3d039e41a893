"""`face3d evaluate`: published protocols, each with one command that prints its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from face3d_cli.cli import output
from face3d_cli.cli.options import ClassBalanceOpt, DetectorOpt, JsonObjectOpt, MapModelOpt
from face3d_cli.cli.segment import segmentation_settings
from face3d_cli.settings import (
    DetectionSettings,
    MapModelName,
    MethodName,
    PositionMapSettings,
    ReconstructSettings,
    SegmentationSettings,
)

PrnetWeightsOpt = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="Position map network of your own, for --method prnet."
    ),
]
evaluate_app = typer.Typer(
    no_args_is_help=True, help="Measure on published data sets.", pretty_exceptions_enable=False
)


@evaluate_app.callback()
def evaluate() -> None:
    """Measure on published data sets."""


@evaluate_app.command()
def segmentation(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Data set folder, such as fasseg/multipose01.",
        ),
    ],
    protocol: Annotated[
        Literal["fasseg", "celebamask"],
        typer.Option(help="Which data set it is; both are scored in FASSEG's six classes."),
    ] = "fasseg",
    split: Annotated[
        Literal["test", "train"], typer.Option(help="Official part of the data set.")
    ] = "test",
    weights: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Weights of your own."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="PX", help="Long side at which the network sees the photo; 0: its own."
        ),
    ] = None,
    class_balance: ClassBalanceOpt = SegmentationSettings.class_balance,
    as_json: JsonObjectOpt = False,
) -> None:
    """Segment every labelled photo of a data set and compare, at the photos' own size.

    A class's accuracy is its recall. multipose01 is listed by pose as well.

    Example: face3d evaluate segmentation fasseg/multipose01 --protocol fasseg
    """
    from face3d_cli.evaluation.segmentation import evaluate_segmentation

    settings = segmentation_settings(size, class_balance)
    with output.progress(None, "segmenting") as advance:
        report = evaluate_segmentation(
            folder,
            protocol,
            settings,
            split=split,
            weights=weights,
            on_photo=lambda done, total: advance(text=f"{done} of {total}"),
        )
    if as_json:
        output.json_line(report)
    else:
        _show(report)


@evaluate_app.command()
def landmarks(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder of AFLW2000-3D: NAME.jpg with NAME.mat beside it.",
        ),
    ],
    method: Annotated[
        Literal["dlib", "prnet"],
        typer.Option(help="dlib's 68-point predictor, or the position map network."),
    ] = "dlib",
    model: MapModelOpt = PositionMapSettings.model,
    weights: PrnetWeightsOpt = None,
    detector: DetectorOpt = DetectionSettings.detector,
    as_json: JsonObjectOpt = False,
) -> None:
    """Find the 68 landmarks of every photo and compare them with AFLW2000-3D's.

    The NME of a photo is the mean distance of the points over sqrt(w h) of the true points' box, in
    percent. Photos in which no face was found inside that box are counted apart.

    Example: face3d evaluate landmarks AFLW2000 --json
    """
    from face3d_cli.evaluation.landmarks import evaluate_landmarks

    settings = ReconstructSettings(
        method="prnet" if method == "prnet" else "auto",
        detection=DetectionSettings(detector=detector),
        position_map=_position_map_settings(model, weights),
    )
    with output.progress(None, "landmarks") as advance:
        report = evaluate_landmarks(
            folder,
            settings,
            on_photo=lambda done, total: advance(text=f"{done} of {total}"),
        )
    if as_json:
        output.json_line(report)
    else:
        _show_landmarks(report)


@evaluate_app.command()
def scans(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder of scans: NAME.npz (vertices_mm, pixels) with NAME.jpg beside it.",
        ),
    ],
    method: Annotated[
        MethodName, typer.Option(help="How meshes are made.")
    ] = ReconstructSettings.method,
    model: MapModelOpt = PositionMapSettings.model,
    weights: PrnetWeightsOpt = None,
    detector: DetectorOpt = DetectionSettings.detector,
    as_json: JsonObjectOpt = False,
) -> None:
    """Reconstruct the face of every scan's photo and measure the scan against it.

    Seven landmarks align the mesh to the scan, ICP with scale refines that; the error is the
    distance of every scan vertex within 80 mm of the nose base to the mesh, in millimetres.

    Example: face3d evaluate scans scans --json
    """
    from face3d_cli.evaluation.scans import evaluate_scans

    settings = ReconstructSettings(
        method=method,
        detection=DetectionSettings(detector=detector),
        position_map=_position_map_settings(model, weights),
        texture=None,
    )
    with output.progress(None, "scans") as advance:
        report = evaluate_scans(
            folder, settings, on_scan=lambda done, total: advance(text=f"{done} of {total}")
        )
    if as_json:
        output.json_line(report)
    else:
        _show_scans(report)


def _position_map_settings(model: MapModelName, weights: Path | None) -> PositionMapSettings:
    return PositionMapSettings(model, str(weights.absolute()) if weights else None)


def _show_landmarks(report: dict[str, Any]) -> None:
    rows = [
        [row["photo"], f"{row['yaw_deg']:.1f}", row["detector"] or "missed", _decimals(row["nme"])]
        for row in report["per_file"]
    ]
    for name, nme in report["nme_by_yaw"].items():
        rows.append([f"mean of {report['photos_by_yaw'][name]}", name, "", _decimals(nme)])
    rows.append(["balanced mean", "", "", _decimals(report["nme_balanced"])])
    rows.append(["missed", "", "", f"{100 * report['missed']:.2f}"])
    output.table(
        ["photo", "yaw", "detector", "NME %"], rows, title=f"{report['photos']} photos, percent"
    )


def _show_scans(report: dict[str, Any]) -> None:
    rows = [
        [row["scan"], _decimals(row["median_mm"]), _decimals(row["mean_mm"])]
        for row in report["per_scan"]
    ]
    rows.extend([row["scan"], "skipped", row["reason"]] for row in report["skipped"])
    rows.append(["median of medians", _decimals(report["median_of_medians_mm"]), ""])
    rows.append(["mean of means", "", _decimals(report["mean_of_means_mm"])])
    output.table(
        ["scan", "median mm", "mean mm"], rows, title=f"{report['scans']} scans, scan to mesh"
    )


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show(report: dict[str, Any]) -> None:
    columns = ["", "accuracy", "IoU", "F1"]
    keys = ("mean_class_accuracy", "mean_iou", "mean_f1")
    rows = [
        [name, *(_percent(row[key]) for key in ("accuracy", "iou", "f1"))]
        for name, row in report["per_class"].items()
    ]
    rows.append(["mean", *(_percent(report[key]) for key in keys)])
    for pose, part in report.get("by_pose", {}).items():
        rows.append([f"mean at pose {pose}", *(_percent(part[key]) for key in keys)])
    if "without_other_crop" in report:
        part, count = report["without_other_crop"], len(report["other_crop"])
        name = f"mean without {count} whose labels were cut differently"
        rows.append([name, *(_percent(part[key]) for key in keys)])
    if "all_classes" in report:
        part = report["all_classes"]
        rows.append(["mean of all classes", *(_percent(part[key]) for key in keys)])
    rows.append(["pixel accuracy", _percent(report["pixel_accuracy"]), "", ""])
    output.table(columns, rows, title=f"{report['protocol']}, {report['photos']} photos, percent")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
