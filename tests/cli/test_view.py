"""The page of one mesh, in a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.core.mesh import Mesh
from face3d_cli.io.glb import FaceNode, save_glb
from tests.helpers.chromium import CHROMIUM, Page, browser

RED, BLUE = (220, 30, 30), (30, 30, 220)
CORNERS = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.1


@pytest.fixture
def glb(tmp_path: Path) -> Path:
    """A red and blue square whose key moves it away, and beside it a plain one with a pivot."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32], picture[32:] = RED, BLUE
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    away = np.tile([0.0, 0.5, 0.0], (4, 1))
    square = Mesh(CORNERS, triangles, uv, picture, blendshapes={"lift": away, "drop": -away})
    eye = Mesh(CORNERS / 10 + (0.3, 0, 0), triangles, uv, picture, pivot=np.array([0.3, 0, 0]))
    path = tmp_path / "two.glb"
    save_glb([FaceNode("face", (square, eye))], path, provenance={"licences": [
        {"what": "a <model>", "licence": "MIT"}]})  # fmt: skip
    return path


@pytest.fixture
def page(glb: Path, tmp_path: Path) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    result = CliRunner().invoke(app, ["view", str(glb), "--no-open"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(glb.with_suffix(".html"))
    with browser(tmp_path / "profile") as page:
        page.open(glb.with_suffix(".html"))
        page.run(
            "new Promise((done) => { const look = () => document.querySelector('#keys input[name]')"
            " && canvas.dataset.drawn ? done() : setTimeout(look, 20); look(); })"
        )
        yield page


def color_in_the_middle(page: Page, y: float = 0.35) -> np.ndarray:
    box = page.run("canvas.getBoundingClientRect().toJSON()")
    pixels = np.asarray(Image.open(io.BytesIO(page.picture())).convert("RGB")).astype(int)
    # The square's middle lies left of the scene's: the second one is at its right.
    return pixels[round(box["y"] + y * box["height"]), round(box["x"] + 0.4 * box["width"])]


def test_meshes_are_drawn_with_their_texture_and_named(page: Page) -> None:
    assert page.run("document.title") == "two"
    assert page.run("Number(canvas.dataset.drawn)") == 4
    assert "a <model>: MIT" in page.run("document.getElementById('note').textContent")
    np.testing.assert_allclose(color_in_the_middle(page, 0.45), RED, atol=12)
    np.testing.assert_allclose(color_in_the_middle(page, 0.55), BLUE, atol=12)


def test_a_shape_key_moves_its_vertices(page: Page) -> None:
    assert page.run("[...document.querySelectorAll('#keys input[name]')].map((s) => s.name)") == [
        "lift",
        "drop",
    ]
    page.run(
        "(() => { const s = document.querySelector('[name=lift]'); s.value = 1; s.oninput(); })()"
    )
    np.testing.assert_allclose(color_in_the_middle(page, 0.45), (41, 43, 48), atol=2)
    page.run("document.getElementById('rest').click()")
    np.testing.assert_allclose(color_in_the_middle(page, 0.45), RED, atol=12)


def test_light_and_wires_change_the_picture(page: Page) -> None:
    before = color_in_the_middle(page, 0.45).sum()
    page.run("light.value = 80; light.oninput()")
    assert color_in_the_middle(page, 0.45).sum() < 0.7 * before
    page.run("lines.click()")
    np.testing.assert_allclose(color_in_the_middle(page, 0.44), (41, 43, 48), atol=2)


def test_the_page_needs_nothing_else(page: Page, glb: Path) -> None:
    assert "http" not in glb.with_suffix(".html").read_text()
    asked = [
        message["params"]["request"]["url"]
        for message in page.messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert sum(url.startswith("file:") for url in asked) == 1
    assert all(url.startswith(("data:", "file:")) for url in asked)
    complaints = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert not [each for each in page.messages if each["method"] in complaints]
