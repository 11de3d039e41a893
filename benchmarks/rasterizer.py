"""How fast is the differentiable renderer, beside PyTorch3D and a plain sketch, in one run?

    python benchmarks/rasterizer.py [--sizes 64 128 256] [--repeats 7] [--curve] [--json OUT]

Needs the Surrey model (`face3d models pull surrey`). PyTorch3D is measured where it is installed.
Every line gives the median and the smallest time; the machine's noise hits all lines of a run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from face3d_cli.diff.cameras import ScaledOrthographicCamera
from face3d_cli.diff.edges import edge_topology, silhouette_edges
from face3d_cli.diff.lighting import PointLight, phong
from face3d_cli.diff.rasterize import rasterize
from face3d_cli.diff.render import Surface, render
from face3d_cli.diff.silhouette import soft_silhouette
from face3d_cli.weights.store import find_model

SIGMA_NDC = 1e-4  # PyTorch3D's default softness, in its normalised units


def surrey_mean_mesh() -> tuple[Tensor, Tensor]:
    """(3448, 3) vertices in millimetres and (6736, 3) triangles."""
    import eos

    model = eos.morphablemodel.load_model(str(find_model("surrey")["sfm_shape_3448.bin"]))
    mesh = model.get_mean()
    return torch.tensor(np.array(mesh.vertices)).float(), torch.tensor(np.array(mesh.tvi)).long()


def camera_for(vertices: Tensor, size: int) -> ScaledOrthographicCamera:
    """Centre the mesh and let it fill nine tenths of the picture."""
    low, high = vertices.amin(0), vertices.amax(0)
    scale = 0.9 * size / (high - low)[:2].max()
    middle = (low + high) / 2
    shift = (size - 1) / 2 - scale * middle[:2] * torch.tensor([1.0, -1.0])
    return ScaledOrthographicCamera(torch.eye(3), scale, shift)


def sketch(points_img: Tensor, triangles: Tensor, size: int) -> Tensor:
    """The plainest version: all pixels of each triangle's box, then scatter_reduce(amin) twice."""
    a, b, c = points_img[0][triangles].unbind(1)
    corners = torch.stack([a, b, c], 1)[..., :2]
    first = corners.amin(1).ceil().clamp(0, size - 1).long()
    last = corners.amax(1).floor().clamp(0, size - 1).long()
    counts = (last - first + 1).clamp(min=0)
    number = counts.prod(1)
    owner = torch.repeat_interleave(torch.arange(len(triangles)), number)
    step = torch.arange(len(owner)) - (number.cumsum(0) - number)[owner]
    x = first[owner, 0] + step % counts[owner, 0]
    y = first[owner, 1] + step // counts[owner, 0]
    a, b, c = a[owner], b[owner], c[owner]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    wb = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
    wc = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / area
    inside = ((wb >= 0) & (wc >= 0) & (wb + wc <= 1)).nonzero().squeeze(1)
    depth = a[:, 2] + wb * (b[:, 2] - a[:, 2]) + wc * (c[:, 2] - a[:, 2])
    depth, pixel, owner = depth[inside], (y * size + x)[inside], owner[inside]
    nearest = torch.full((size * size,), torch.inf).scatter_reduce(0, pixel, depth, "amin")
    winner = depth == nearest[pixel]
    found = torch.full((size * size,), len(triangles))
    return found.scatter_reduce(0, pixel[winner], owner[winner], "amin")


class Scene:
    """The same picture for every contestant: gradients to vertices and colours."""

    def __init__(self, vertices: Tensor, triangles: Tensor, size: int) -> None:
        self.size, self.triangles = size, triangles
        self.vertices = vertices[None].clone().requires_grad_(True)
        self.colors = torch.full((1, len(vertices), 3), 0.6).requires_grad_(True)
        self.camera = camera_for(vertices, size)
        self.light = PointLight(torch.tensor([100.0, 200.0, 600.0]), torch.full((3,), 0.5))
        self.topology = edge_topology(triangles)
        self.disc = torch.zeros(1, size, size)
        self.disc[:, size // 4 : -size // 4, size // 4 : -size // 4] = 1

    def step(self, loss: Tensor) -> None:
        """Backward pass with fresh gradients."""
        self.vertices.grad = self.colors.grad = None
        loss.backward()

    def shade(self, surface: Surface) -> Tensor:
        """Lambert and highlights under one point light."""
        return phong(
            surface.albedo,
            surface.normals,
            surface.positions,
            surface.towards_camera,
            [self.light],
        )

    def phong(self, *, antialiased: bool = False) -> None:
        """Hard edges (or antialiased ones), Phong, squared colours."""
        picture = render(
            self.vertices,
            self.triangles,
            self.colors,
            self.camera,
            self.size,
            self.size,
            shader=self.shade,
            topology=self.topology if antialiased else None,
        )
        self.step(picture.color.square().mean())

    def soft(self) -> None:
        """Soft silhouette against a square."""
        points = self.camera.project(self.vertices)
        seen = rasterize(points, self.triangles, self.size, self.size)
        edges = silhouette_edges(points, self.triangles, self.topology)
        alpha = soft_silhouette(seen, edges, SIGMA_NDC * (self.size / 2) ** 2)
        self.step((alpha - self.disc).square().mean())

    def raster(self) -> None:
        """Triangle ids, barycentrics and depth only."""
        with torch.no_grad():
            points = self.camera.project(self.vertices)
            rasterize(points, self.triangles, self.size, self.size)

    def raster_sketch(self) -> None:
        """Triangle ids only."""
        with torch.no_grad():
            sketch(self.camera.project(self.vertices), self.triangles, self.size)


class TheirScene(Scene):
    """The same through PyTorch3D's own renderer."""

    def __init__(self, vertices: Tensor, triangles: Tensor, size: int) -> None:
        super().__init__(vertices, triangles, size)
        from pytorch3d import renderer as p3d

        scale = float(self.camera.scale_px_per_unit) * 2 / size
        self.p3d = p3d
        middle = (vertices.amin(0) + vertices.amax(0)) / 2
        turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))[None]  # they look along +z, x left
        move = -middle * torch.tensor([-1.0, 1.0, -1.0]) + torch.tensor([0, 0, 300.0])
        self.cameras = p3d.OrthographicCameras(focal_length=scale, R=turn, T=move[None])
        hard = p3d.RasterizationSettings(size, blur_radius=0.0, faces_per_pixel=1)
        blur = float(np.log(1.0 / 1e-4 - 1.0) * SIGMA_NDC)
        soft = p3d.RasterizationSettings(size, blur_radius=blur, faces_per_pixel=8)
        lights = p3d.PointLights(location=[[100.0, 200.0, 600.0]])
        self.hard = p3d.MeshRenderer(
            p3d.MeshRasterizer(self.cameras, hard),
            p3d.HardPhongShader(cameras=self.cameras, lights=lights),
        )
        self.soft_renderer = p3d.MeshRenderer(
            p3d.MeshRasterizer(self.cameras, soft),
            p3d.SoftSilhouetteShader(p3d.BlendParams(sigma=SIGMA_NDC)),
        )

    def meshes(self) -> object:
        """A fresh batch, so that nothing cached from the last step helps."""
        from pytorch3d.structures import Meshes

        textures = self.p3d.TexturesVertex(self.colors)
        return Meshes(self.vertices, self.triangles[None], textures)

    def phong(self, *, antialiased: bool = False) -> None:
        """Hard edges, Phong."""
        self.step(self.hard(self.meshes())[..., :3].square().mean())

    def soft(self) -> None:
        """Soft silhouette, eight faces a pixel."""
        alpha = self.soft_renderer(self.meshes())[..., 3]
        self.step((alpha - self.disc).square().mean())


def timed(work: dict[str, Callable[[], None]], repeats: dict[str, int]) -> dict[str, list[float]]:
    """Milliseconds of each contestant, taken in turns so that noise meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for name in work:
        work[name]()
    for turn in range(max(repeats.values())):
        for name, call in work.items():
            if turn < repeats[name]:
                start = time.perf_counter()
                call()
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def report(size: int, what: str, times: dict[str, list[float]], records: list[dict]) -> None:
    """Print and keep one comparison; the first contestant is ours."""
    names = list(times)
    medians = {name: statistics.median(values) for name, values in times.items()}
    line = f"{size:5d} px  {what:28s}"
    for name in names:
        line += f"  {name} {medians[name]:9.2f} ms (min {min(times[name]):9.2f})"
    for name in names[1:]:
        best = min(times[name]) / min(times[names[0]])
        line += f"  ratio {medians[name] / medians[names[0]]:.0f} (of minima {best:.0f})"
    print(line, flush=True)
    records.append({"size_px": size, "what": what, "median_ms": medians, "times_ms": times})


def sphere_mesh(num_triangles: int) -> tuple[Tensor, Tensor]:
    """A latitude-longitude sphere with about that many triangles."""
    rings = max(3, round((num_triangles / 4) ** 0.5))
    sectors = 2 * rings
    polar = torch.linspace(0, torch.pi, rings + 1)[:, None]
    around = torch.arange(sectors) * (2 * torch.pi / sectors)
    x, z = polar.sin() * around.sin(), polar.sin() * around.cos()
    vertices = torch.stack([x, polar.cos().expand_as(x), z], -1).reshape(-1, 3)
    sector = torch.arange(sectors)
    a = (torch.arange(rings)[:, None] * sectors + sector).reshape(-1)
    b = (torch.arange(rings)[:, None] * sectors + (sector + 1) % sectors).reshape(-1)
    lower = torch.stack([a, a + sectors, b], 1)
    upper = torch.stack([b, a + sectors, b + sectors], 1)
    return vertices, torch.cat([lower, upper])


def curve(repeats: int) -> list[dict]:
    """Print CPU times against triangles and covered pixels, and the plane that fits them best."""
    print("triangles   covered px   rasterisation, CPU ms (smallest)   wall ms (median)")
    records = []
    for size in (256, 512, 1024):
        for wanted in (1_000, 10_000, 30_000, 100_000, 300_000):
            ball, faces = sphere_mesh(wanted)
            scene = Scene(ball, faces, size)
            covered = len(rasterize(scene.camera.project(scene.vertices), faces, size, size).pixel)
            used, wall = [], []
            for _ in range(repeats):
                begun = time.process_time(), time.perf_counter()
                scene.raster()
                used.append((time.process_time() - begun[0]) * 1e3)
                wall.append((time.perf_counter() - begun[1]) * 1e3)
            print(
                f"{len(faces):9d} {covered:12d} {min(used):12.1f} {statistics.median(wall):12.1f}",
                flush=True,
            )
            record = {"triangles": len(faces), "covered_px": covered, "cpu_ms": min(used)}
            records.append({**record, "wall_ms": wall})
    table = np.array([[1, each["triangles"], each["covered_px"]] for each in records], float)
    measured = np.array([each["cpu_ms"] for each in records])
    weighted = table / measured[:, None]  # relative errors count
    plane = np.linalg.lstsq(weighted, np.ones(len(measured)), rcond=None)[0]
    away = np.abs(table @ plane / measured - 1)
    print(
        f"CPU ms = {plane[0]:.2f} + {1e3 * plane[1]:.3f} per 1,000 triangles + "
        f"{1e3 * plane[2]:.4f} per 1,000 pixels; off by {np.median(away):.0%} (median), "
        f"{away.max():.0%} (most)"
    )
    return records


def main() -> None:
    """Run every comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--curve", action="store_true", help="only the cost against triangles")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.curve:
        curve(arguments.repeats)
        return
    warnings.simplefilter("ignore")
    try:
        import pytorch3d

        contestant = f"PyTorch3D {pytorch3d.__version__}"
    except ImportError:
        contestant = ""
        print("PyTorch3D is not installed: only our own times follow")
    vertices, triangles = surrey_mean_mesh()
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads")
    records: list[dict] = []
    many = 5 * arguments.repeats
    for size in arguments.sizes:
        ours = Scene(vertices, triangles, size)
        for what in ("phong", "soft"):
            work = {"ours": getattr(ours, what)}
            if contestant:
                work[contestant] = getattr(TheirScene(vertices, triangles, size), what)
            count = {name: many if name == "ours" else arguments.repeats for name in work}
            report(size, f"{what}, forward + backward", timed(work, count), records)
        work = {"ours": lambda ours=ours: ours.phong(antialiased=True)}
        report(size, "phong, antialiased", timed(work, {"ours": many}), records)
    for size in (256, 1024):
        ours = Scene(vertices, triangles, size)
        work = {"ours": ours.raster, "sketch": ours.raster_sketch}
        report(size, "rasterisation", timed(work, dict.fromkeys(work, many)), records)
    records.extend(curve(arguments.repeats))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as handle:
            json.dump({"machine": platform.platform(), "results": records}, handle, indent=1)


if __name__ == "__main__":
    main()
