"""`face3d doctor`: what works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import Literal

import typer

from face3d_cli.cli import output
from face3d_cli.cli.options import JsonObjectOpt
from face3d_cli.version import __version__
from face3d_cli.weights import store
from face3d_cli.weights.registry import MODELS_OF_METHOD, model_names, model_spec

MAIN_METHOD = "surrey"  # what `face3d reconstruct` needs

# Module and distribution of what every method needs, and of what reads a model.
_COMMON = (
    ("numpy", "numpy"),
    ("PIL", "pillow"),
    ("cv2", "opencv-python-headless"),
    ("scipy", "scipy"),
    ("isal", "isal"),
    ("safetensors", "safetensors"),
    ("torch", "torch"),
)
_OF_MODEL = {"dlib": ("dlib", "dlib-bin"), "surrey": ("eos", "eos-py")}
# Module, distribution, what does not work without it, how to get it.
_OPTIONAL = (
    ("pillow_heif", "pillow-heif", "HEIC photos", "pip install 'face3d[heif]'"),
    ("tensorboard", "tensorboard", "training logs for TensorBoard", "pip install 'face3d[logs]'"),
)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        kind: required or optional Python part, or model.
        name: what it is called.
        state: "ok", "missing" or "damaged" (it is there and does not work).
        version: of a Python part that works.
        problem: what is wrong; "" when it is fine.
        costs: what does not work without it; "" when it is fine.
        remedy: the command that mends it; "" when it is fine.
    """

    kind: Literal["required", "optional", "model"]
    name: str
    state: Literal["ok", "missing", "damaged"]
    version: str = ""
    problem: str = ""
    costs: str = ""
    remedy: str = ""


def doctor(as_json: JsonObjectOpt = False) -> None:
    """Check what works on this machine; exit 1 when no face can be reconstructed.

    Example: face3d doctor
    """
    checks = [*_required_parts(), *_optional_parts(), *_models()]
    good = {(check.kind, check.name) for check in checks if check.state == "ok"}
    methods = {
        method: good.issuperset(
            [
                *(("required", module) for module, _ in _COMMON),
                *(("required", _OF_MODEL[name][0]) for name in models if name in _OF_MODEL),
                *(("model", name) for name in models),
            ]
        )
        for method, models in MODELS_OF_METHOD.items()
    }
    works = methods[MAIN_METHOD]
    machine = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": _device(),
        "store": str(store.store_folder()),
        "offline": store.is_offline(),
    }
    if as_json:
        records = [asdict(check) for check in checks]
        output.json_line({"ok": works, **machine, "methods": methods, "checks": records})
    else:
        output.table(["what", "value"], [[key, str(value)] for key, value in machine.items()])
        output.table(
            ["kind", "part", "state", "version"],
            [[check.kind, check.name, check.state, check.version] for check in checks],
        )
        for check in checks:  # whole lines, so that a remedy can be copied
            if check.state != "ok":
                output.result(f"{check.name} {check.state}: {check.problem}")
                output.result(f"  without it, this does not work: {check.costs}")
                output.result(f"  mend it with: {check.remedy}")
        for method, runs in methods.items():
            output.result(f"method {method}: {'works' if runs else 'cannot run'}")
    if not works:
        raise typer.Exit(1)


def _required_parts() -> Iterator[Check]:
    for module, distribution in _COMMON:
        yield _part("required", module, distribution, "every method", f"pip install {distribution}")
    for model, (module, distribution) in _OF_MODEL.items():
        methods = ", ".join(name for name, models in MODELS_OF_METHOD.items() if model in models)
        remedy = f"pip install {distribution}"
        if module == "eos" and sys.version_info >= (3, 13):
            remedy = "use Python 3.10 to 3.12: eos-py has no wheel for this one"
        yield _part("required", module, distribution, f"the methods {methods}", remedy)


def _optional_parts() -> Iterator[Check]:
    for module, distribution, costs, remedy in _OPTIONAL:
        yield _part("optional", module, distribution, costs, remedy)


def _part(
    kind: Literal["required", "optional"], module: str, distribution: str, costs: str, remedy: str
) -> Check:
    """Import a part, because only that tells whether its libraries load on this machine."""
    try:
        loaded = import_module(module)
    except Exception as problem:  # a broken extension raises ImportError, OSError or anything else
        if isinstance(problem, ModuleNotFoundError) and problem.name == module:
            return Check(kind, module, "missing", "", "not installed", costs, remedy)
        reason = " ".join(str(problem).split()) or type(problem).__name__
        return Check(kind, module, "damaged", "", f"does not import: {reason}", costs, remedy)
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:  # another distribution of the same module
        version = str(getattr(loaded, "__version__", "unknown version"))
    return Check(kind, module, "ok", version)


def _models() -> Iterator[Check]:
    for name in model_names():
        spec = model_spec(name)
        state = store.model_state(name, full=True)
        if state.state == "present":
            yield Check("model", name, "ok")
        else:
            problem = "; ".join(state.problems) if state.state == "damaged" else "not pulled"
            if spec.origin != "download":
                problem = state.problems[0]
            yield Check(
                "model", name, state.state, "", problem, spec.needed_for, store.remedy(spec)
            )


def _device() -> str:
    """What torch would compute on."""
    try:
        import torch
    except Exception:  # said by its own check
        return "none: torch does not import"
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({torch.get_num_threads()} threads)"
