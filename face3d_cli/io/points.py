"""The iBUG `.pts` file: landmarks as text.

```
version: 1
n_points: 68
{
611.284152 272.773913
...
}
```

The files of 300-W and of eos count pixels from 1, because they were marked in Matlab: the centre of
the top-left pixel is (1, 1). Here it is (0, 0), so reading takes 1 off and writing adds it.

Source: https://ibug.doc.ic.ac.uk/resources/facial-point-annotations/ ("(1,1) is the first pixel").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from face3d_cli.arrays import Points2, check_shape
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.atomic import atomic_path

NUM_LANDMARKS = 68
_FIRST_PIXEL = 1.0  # of the file; ours is 0
_LARGEST_FILE_BYTES = 1_000_000


def read_pts(path: str | Path, *, num_points: int | None = NUM_LANDMARKS) -> Points2:
    """Read landmarks as image pixels, the centre of the top-left pixel being (0, 0).

    Args:
        path: the file.
        num_points: how many points it must hold; None takes any number.

    Returns:
        (L, 2) float64, finite.

    Raises:
        UnreadableInput: not such a file; the message names the line.
    """
    lines = _lines(Path(path))
    number = 0

    def expected(what: str) -> UnreadableInput:
        found = repr(lines[number][:40]) if number < len(lines) else "the end of the file"
        return UnreadableInput(
            f"{path}, line {number + 1}: expected {what}, found {found}",
            hint="an iBUG .pts file has version, n_points, {, one 'x y' per line, }",
        )

    def header(key: str) -> int:
        name, colon, value = lines[number].partition(":") if number < len(lines) else ("", "", "")
        digits = value.strip()
        if name.strip() != key or not colon or not digits.isdecimal() or len(digits) > 9:
            raise expected(f"'{key}: NUMBER'")
        return int(digits)

    if header("version") != 1:
        raise expected("'version: 1'")
    number += 1
    count = header("n_points")
    if num_points is not None and count != num_points:
        raise expected(f"'n_points: {num_points}'")
    number += 1
    if lines[number : number + 1] != ["{"]:
        raise expected("'{'")
    points: list[tuple[float, float]] = []
    for number in range(3, 3 + count):
        point = _point(lines[number]) if number < len(lines) else None
        if point is None:
            raise expected(f"point {len(points) + 1} of {count} as 'x y'")
        points.append(point)
    number = 3 + count
    if lines[number : number + 1] != ["}"]:
        raise expected(f"'}}' after {count} points")
    number += 1
    if number < len(lines):
        raise expected("nothing after '}'")
    return np.array(points, dtype=np.float64).reshape(-1, 2) - _FIRST_PIXEL  # (L, 2)


def save_pts(path: str | Path, points_img: Points2) -> None:
    """Write landmarks, given in pixels from 0, as an iBUG `.pts` file; six decimals.

    Raises:
        ShapeError: `points_img` is not (L, 2).
        OutputError: the file cannot be written.
    """
    check_shape(points_img, (None, 2), "points_img")
    rows = "".join(f"{x:.6f} {y:.6f}\n" for x, y in points_img + _FIRST_PIXEL)
    text = f"version: 1\nn_points: {len(points_img)}\n{{\n{rows}}}\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii", newline="\n")


def _lines(path: Path) -> list[str]:
    """The lines of the file without outer white space and without empty lines at its end."""
    try:
        with path.open("rb") as handle:
            content = handle.read(_LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as problem:  # ValueError: a null character in the name
        reason = getattr(problem, "strerror", None) or str(problem)
        raise UnreadableInput(f"cannot read landmarks {path}: {reason}") from problem
    if len(content) > _LARGEST_FILE_BYTES:
        raise UnreadableInput(f"{path} is too large for a landmark file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise UnreadableInput(f"{path} is not a text file") from problem
    return [line.strip() for line in text.rstrip().split("\n")]


def _point(line: str) -> tuple[float, float] | None:
    """Two finite numbers, or None."""
    try:
        x, y = (float(word) for word in line.split())
    except ValueError:  # not two words, or not numbers
        return None
    return (x, y) if np.isfinite([x, y]).all() else None
