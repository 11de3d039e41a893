"""Run every benchmark that needs no data set, one after the other: `make bench`.

The figures that need photos or scans with ground truth come from `face3d evaluate` and from
`benchmarks/box_convention.py`; `docs/benchmarks.md` gives each command.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "assets" / "eileen_collins.jpg"
TAKES_A_PHOTO = ("image_io", "mesh_files", "reconstruct", "segmentation")
TAKES_NOTHING = ("rasterizer",)


def main() -> int:
    """Run them all; 1 when any of them failed."""
    failed = []
    for name in (*TAKES_A_PHOTO, *TAKES_NOTHING):
        arguments = [str(SAMPLE)] if name in TAKES_A_PHOTO else []
        print(f"\n== {name}", flush=True)
        script = str(HERE / f"{name}.py")
        if subprocess.run([sys.executable, script, *arguments], check=False).returncode:
            failed.append(name)
    print(f"\nfailed: {', '.join(failed) or 'none'}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
