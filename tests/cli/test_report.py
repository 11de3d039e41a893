"""The page of a batch, in a real browser."""

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
from face3d_cli.io.mesh import save_mesh
from face3d_cli.pipeline.manifest import Manifest, OutputFile
from tests.helpers.chromium import CHROMIUM, Page, browser

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)
SQUARE = Mesh(
    vertices=np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.1,
    triangles=np.array([[0, 1, 2], [0, 2, 3]]),
    uv=np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
)


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """A finished batch: a textured OBJ with red above blue, a green PLY, and two failures."""
    folder = tmp_path / "meshes"
    Image.new("RGB", (60, 40), GREEN).save(tmp_path / "photo.png")
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32], picture[32:] = RED, BLUE
    made = {
        "a/red over blue.jpg": Mesh(
            SQUARE.vertices, SQUARE.triangles, uv=SQUARE.uv, texture=picture
        ),
        "a/green.jpg": Mesh(
            SQUARE.vertices, SQUARE.triangles, vertex_colors=np.full((4, 3), GREEN, np.uint8)
        ),
    }
    with Manifest(folder) as manifest:
        common = {"task": "reconstruct", "settings": "s", "file": {"bytes": 1, "mtime_ns": 1}}
        for name, mesh in made.items():
            suffix = ".obj" if mesh.texture is not None else ".ply"
            files = save_mesh(mesh, folder / (name + suffix))
            outputs = [vars(OutputFile.of(file, folder)) for file in files]
            photo = str(tmp_path / "photo.png")
            record = {"name": name, "photo": photo, "status": "ok", "timings_ms": {"fit": 12.0}}
            manifest.append({**common, **record, "outputs": outputs})
        for status in ("no-face", "failed"):
            error = f"<b>{status}</b> & 'so on'"
            record = {"name": f"{status}.jpg", "photo": "gone", "status": status, "error": error}
            manifest.append({**common, **record, "outputs": []})
    return folder


def test_the_page_needs_nothing_else(meshes: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(meshes)])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(meshes / "report.html")
    text = (meshes / "report.html").read_text()
    assert "http" not in text
    assert "&lt;b&gt;failed&lt;/b&gt; &amp; &#x27;so on&#x27;" in text
    assert 'href="a/red%20over%20blue.jpg.obj"' in text
    assert text.count("data:image/jpeg;base64,/9j") == 2  # thumbnails


def test_a_folder_that_is_no_batch_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 3
    assert "expected the folder of a batch" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def page(meshes: Path, tmp_path: Path) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    assert CliRunner().invoke(app, ["report", str(meshes)]).exit_code == 0
    with browser(tmp_path / "profile") as page:
        page.open(meshes / "report.html")
        yield page


def shown(page: Page) -> list[str]:
    cards = "[...document.querySelectorAll('article')].filter((card) => card.offsetParent)"
    return page.run(f"{cards}.map((card) => card.querySelector('.name').textContent)")


def click(page: Page, element: str) -> None:
    page.run(f"{element}.scrollIntoView({{ block: 'center' }})")
    box = page.run(f"{element}.getBoundingClientRect().toJSON()")
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    for kind in ("mousePressed", "mouseReleased"):
        page.mouse(kind, **place, button="left", clickCount=1)


def open_mesh(page: Page, name: str) -> None:
    card = (
        f"[...document.querySelectorAll('article')].find((c) => c.textContent.includes('{name}'))"
    )
    click(page, f"{card}.querySelector('button')")
    page.run(
        "new Promise((done) => { const look = () => document.getElementById('mesh-name')"
        f".textContent.includes('{name}') && canvas.dataset.drawn ? done() : setTimeout(look, 20);"
        " look(); })"
    )


def colors_at(page: Page, *places: tuple[float, float]) -> list[np.ndarray]:
    """Colours of the 3-D view, at places given as shares of its width and height."""
    box = page.run("canvas.getBoundingClientRect().toJSON()")
    pixels = np.asarray(Image.open(io.BytesIO(page.picture())).convert("RGB")).astype(int)
    return [
        pixels[round(box["y"] + y * box["height"]), round(box["x"] + x * box["width"])]
        for x, y in places
    ]


def test_filters_show_what_was_asked_for(page: Page) -> None:
    everything = ["a/green.jpg", "a/red over blue.jpg", "failed.jpg", "no-face.jpg"]
    assert shown(page) == everything
    click(page, "document.querySelector('button[data-status=\"no-face\"]')")
    assert shown(page) == ["no-face.jpg"]
    click(page, "document.querySelector('button[data-status=\"ok\"]')")
    assert shown(page) == everything[:2]
    click(page, "document.querySelector('button[data-status=\"all\"]')")
    click(page, "document.getElementById('search')")
    page.call("Input.insertText", text="BLUE")
    assert shown(page) == ["a/red over blue.jpg"]
    assert page.run("document.getElementById('shown').textContent") == "1 shown"


def test_a_mesh_is_drawn_upright_with_its_texture_and_can_be_turned(page: Page) -> None:
    open_mesh(page, "red over blue")
    above, below, beside = colors_at(page, (0.5, 0.3), (0.5, 0.7), (0.02, 0.5))
    np.testing.assert_allclose(above, RED, atol=12)
    np.testing.assert_allclose(below, BLUE, atol=12)
    np.testing.assert_allclose(beside, (41, 43, 48), atol=2)
    click(page, "document.getElementById('plain')")
    (plain,) = colors_at(page, (0.5, 0.3))
    assert np.ptp(plain) <= 2
    before = page.picture()
    box = page.run("canvas.getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    page.mouse("mouseMoved", x + 100, y, button="left", buttons=1)
    page.mouse("mouseReleased", x + 100, y, button="left", clickCount=1)
    assert page.run("view.eye.yaw") == pytest.approx(1.0)
    assert page.picture() != before


def test_vertex_colors_are_drawn(page: Page) -> None:
    open_mesh(page, "green")
    np.testing.assert_allclose(colors_at(page, (0.5, 0.5))[0], GREEN, atol=4)
    assert page.run("Number(canvas.dataset.drawn)") == 2


def test_nothing_is_fetched_and_nothing_complained_about(page: Page) -> None:
    open_mesh(page, "red over blue")
    page.run("1")
    asked = [
        message["params"]["request"]["url"]
        for message in page.messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert all(url.startswith(("data:", "file:")) for url in asked)
    assert sum(url.startswith("file:") for url in asked) == 1
    complaints = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert not [each for each in page.messages if each["method"] in complaints]
