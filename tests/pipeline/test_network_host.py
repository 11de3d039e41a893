"""Networks that one process runs for many workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from face3d_cli.errors import ModelError, StageError
from face3d_cli.io.image import read_photo
from face3d_cli.networks.prnet import PositionMapNet, prnet_bytes
from face3d_cli.networks.runner import TorchRunner, current_runner, device_name, use_runner
from face3d_cli.pipeline.batch import run_batch
from face3d_cli.pipeline.discover import find_photos
from face3d_cli.pipeline.engine_local import LocalEngine
from face3d_cli.pipeline.network_host import HostedRunner, NetworkHost, Request, answers
from face3d_cli.pipeline.photo_tasks import SegmentTask
from face3d_cli.settings import PositionMapNetSettings
from face3d_cli.stages import position_map
from face3d_cli.stages.segmentation import segment_photo
from tests.helpers.batch_task import records_in


class Counting:
    """Gives the mean of each picture, keeps the size of every group, fails at pictures of 13."""

    device = "nowhere"

    def __init__(self) -> None:
        self.groups: list[int] = []

    def run(self, kind: str, path: Path, pictures: np.ndarray) -> np.ndarray:
        self.groups.append(len(pictures))
        if (pictures == 13).any():
            raise RuntimeError("CUDA error: an illegal\nmemory access")
        if kind == "prnet":
            raise ModelError("no such weights")
        return pictures.mean(axis=(1, 2, 3))


def request(level: int, side: int = 4, count: int = 1, kind: str = "unet") -> Request:
    return Request(kind, Path("w"), np.full((count, side, side, 3), level, np.uint8))  # type: ignore[arg-type]


def test_what_comes_together_goes_together_and_each_gets_its_own() -> None:
    runner = Counting()
    asked = [request(1), request(2, side=8), request(3, count=2), request(4), request(5, side=8)]
    found = answers(runner, asked)
    assert [np.asarray(answer).tolist() for answer in found] == [[1], [2], [3, 3], [4], [5]]
    assert runner.groups == [4, 2]


def test_groups_have_a_largest_size() -> None:
    runner = Counting()
    found = answers(runner, [request(level) for level in range(10)], max_pictures=4)
    assert [float(np.asarray(answer)[0]) for answer in found] == list(range(10))
    assert runner.groups == [4, 4, 2]


def test_a_request_that_fails_costs_no_other() -> None:
    runner = Counting()
    found = answers(runner, [request(1), request(13), request(2), request(3, kind="prnet")])
    assert [np.asarray(found[index]).tolist() for index in (0, 2)] == [[1], [2]]
    assert isinstance(found[1], StageError)
    assert "nowhere: CUDA error: an illegal" in str(found[1])
    assert isinstance(found[3], ModelError)
    assert runner.groups == [3, 1, 1, 1, 1]


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(StageError, match="cannot use the device 'cuda:99'"):
        TorchRunner("cuda:99")
    host = NetworkHost("cuda:99")
    with pytest.raises(StageError, match="cannot use the device 'cuda:99'"):
        host.address()


@pytest.fixture
def host() -> Iterator[NetworkHost]:
    host = NetworkHost("cpu")
    yield host
    host.stop()


@pytest.mark.slow
def test_a_host_gives_what_opencv_gives(host: NetworkHost, sample_photo: Path) -> None:
    image = read_photo(sample_photo)
    expected = segment_photo(image)
    use_runner(HostedRunner(host.address()))
    try:
        found = segment_photo(image)
        assert device_name() == "cpu"
    finally:
        use_runner(None)
    assert current_runner() is None
    np.testing.assert_allclose(found.logits, expected.logits, atol=0.02)
    assert (found.labels == expected.labels).mean() > 0.999


def test_position_map_networks_give_the_same_elsewhere(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PositionMapNet(PositionMapNetSettings(encoder="mobilenetv2", modes=0)).eval()
    torch.nn.init.normal_(network.mean_map)
    torch.nn.init.orthogonal_(network.shapes)
    (tmp_path / "net.safetensors").write_bytes(prnet_bytes(network))
    crops = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    stage = position_map._network("", str(tmp_path / "net.safetensors"))
    expected = stage.maps(crops)
    use_runner(TorchRunner("cpu"))
    try:
        found = stage.maps(crops)
    finally:
        use_runner(None)
    assert found.shape == expected.shape == (2, 64, 64, 3)
    assert np.ptp(expected) > 10
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.slow
def test_a_batch_goes_on_when_its_host_is_killed(tmp_path: Path, sample_photo: Path) -> None:
    (tmp_path / "in").mkdir()
    with Image.open(sample_photo) as image:
        for index in range(6):
            image.convert("RGB").resize((200 + 20 * index, 240)).save(tmp_path / f"in/{index}.jpg")
    task = SegmentTask()
    engine = LocalEngine(task, 2, device="cpu")
    killed = []

    def kill_once(record: dict, line: str) -> None:
        if not killed:
            assert engine._host is not None
            assert engine._host._process is not None
            killed.append(engine._host._process.pid)
            os.kill(killed[0], signal.SIGKILL)

    report = run_batch(
        find_photos(tmp_path / "in"), tmp_path / "out", task, engine, on_record=kill_once
    )
    assert report.done == {"ok": 6}
    assert killed
    assert sorted(each["name"] for each in records_in(tmp_path / "out")) == [
        f"{index}.jpg" for index in range(6)
    ]
