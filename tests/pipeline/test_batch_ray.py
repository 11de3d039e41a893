"""The Ray engine on a real cluster of two nodes, one of which is killed half-way."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds a node's processes in /proc"),
]
NUM_PHOTOS = 24
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
ENVIRONMENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}


def descendants(pid: int) -> list[int]:
    """A process and all that it has started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
        except (OSError, IndexError):
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def kill(node: subprocess.Popen) -> None:
    """End a node as a power cut does."""
    for pid in descendants(node.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.wait()


@pytest.fixture
def cluster() -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a cluster, and its second node."""
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets lie in it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = open(Path(folder) / "nodes.log", "wb")  # noqa: SIM115 - closed below
    silent = {"stdout": log, "stderr": log, "env": ENVIRONMENT}
    local = ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
    head_options = ["--head", f"--port={address.split(':')[1]}", f"--temp-dir={folder}"]
    head = subprocess.Popen([*RAY, *local, *head_options, "--include-dashboard=false"], **silent)
    nodes = [head]
    try:
        wait_for_cpus(address, 1)
        nodes.append(subprocess.Popen([*RAY, *local, f"--address={address}"], **silent))
        wait_for_cpus(address, 2)
        yield address, nodes[1]
    finally:
        for node in reversed(nodes):
            kill(node)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_cpus(address: str, count: int) -> None:
    script = (
        f"import ray; ray.init('{address}', log_to_driver=False, logging_level='ERROR');"
        "print(ray.cluster_resources().get('CPU', 0))"
    )
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        asked = [sys.executable, "-c", script]
        said = subprocess.run(
            asked, capture_output=True, text=True, env=ENVIRONMENT, timeout=100, check=False
        )
        if said.stdout.strip() == f"{count}.0":
            return
        time.sleep(1.0)
    raise AssertionError(f"no cluster of {count} CPUs: {said.stdout} {said.stderr[-2000:]}")


def test_a_node_killed_half_way_costs_nothing(
    cluster: tuple[str, subprocess.Popen], tmp_path: Path, sample_photo: Path
) -> None:
    address, second_node = cluster
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(sample_photo) as image:
        for index in range(NUM_PHOTOS):
            width = 300 + 4 * index
            small = image.convert("RGB").resize((width, round(width * image.height / image.width)))
            small.save(photos / f"{index:02}.jpg")

    def command(out: str, *options: str) -> list[str]:
        given = ["batch", str(photos), "-o", str(tmp_path / out), "--task", "landmarks", "--json"]
        return [sys.executable, "-m", "face3d_cli", *given, *options]

    with subprocess.Popen(
        command("ray", "--engine", "ray", "--address", address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(NUM_PHOTOS // 3)]
        assert all(lines), process.communicate()[1]
        commands = [Path(f"/proc/{pid}/cmdline") for pid in descendants(second_node.pid)]
        assert any(b"_Actor" in path.read_bytes() for path in commands)  # it works there, too
        kill(second_node)
        rest, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    records = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert sorted(record["name"] for record in records) == sorted(os.listdir(photos))
    assert {record["status"] for record in records} == {"ok"}
    assert said.strip().splitlines()[-1].startswith(f"ok={NUM_PHOTOS} no-face=0 failed=0 skipped=0")

    subprocess.run(command("local"), check=True, capture_output=True)
    results = [path.name for path in (tmp_path / "local").glob("*.*.*")]
    assert len(results) == 2 * NUM_PHOTOS
    for name in results:
        same = (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
        assert same, name
    assert not list((tmp_path / "ray").glob(".*"))


def test_no_cluster_at_the_address_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.jpg").write_bytes(b"")
    options = ["--engine", "ray", "--address", "127.0.0.1:1"]
    result = subprocess.run(
        [sys.executable, "-m", "face3d_cli", "batch", "in", "-o", "out", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
        check=False,
    )
    assert result.returncode == 5
    assert result.stderr.strip().splitlines()[-1].startswith("error: cannot join the Ray cluster")
