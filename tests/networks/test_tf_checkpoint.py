"""TensorFlow's V2 checkpoints, read without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from face3d_cli.errors import ModelError
from face3d_cli.networks.crc32c import crc32c, masked
from face3d_cli.networks.tf_checkpoint import TensorBundle
from tests.helpers.tensor_bundle import write_bundle

BY_TENSORFLOW = Path(__file__).parents[1] / "data" / "tf_checkpoint" / "small"


def test_crc32c_of_the_standard_examples() -> None:
    # RFC 3720, appendix B.4.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes([0xFF] * 32)) == 0x62A8AB43
    assert crc32c(b"") == 0


def test_crc32c_of_a_long_buffer_is_that_of_its_bytes_one_by_one() -> None:
    data = np.random.default_rng(0).bytes(200_001)
    state = 0xFFFFFFFF
    for octet in data:
        state ^= octet
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c(data) == state ^ 0xFFFFFFFF


def test_masked_is_leveldbs() -> None:
    # LevelDB's crc32c.h: rotate right by 15, add 0xa282ead8.
    assert masked(0) == 0xA282EAD8
    assert masked(1 << 15) == 0xA282EAD9


def test_a_checkpoint_that_tensorflow_wrote() -> None:
    bundle = TensorBundle.open(BY_TENSORFLOW)
    assert set(bundle.entries) == {"layer/weights", "layer/bias", "step"}
    weights = bundle.read("layer/weights")
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, np.arange(24).reshape(2, 3, 4) / 8)
    np.testing.assert_array_equal(bundle.read("layer/bias"), [0.5, -1.5])
    assert bundle.read("step") == 1234567890123


@pytest.mark.parametrize("block_keys", [1, 3, 100])
def test_round_trip_over_several_blocks(tmp_path: Path, block_keys: int) -> None:
    rng = np.random.default_rng(1)
    tensors = {
        f"scope/layer_{i}/weights": rng.normal(size=(i + 1, 2)).astype(np.float32)
        for i in range(12)
    }
    tensors["empty"] = np.zeros((0, 3), np.float64)
    bundle = TensorBundle.open(write_bundle(tmp_path / "a", tensors, block_keys=block_keys))
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(bundle.read(name), tensor)


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.index"):
        TensorBundle.open(tmp_path / "nothing")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path / "a", {"x": np.ones(3, np.float32)})
    (tmp_path / "a.data-00000-of-00001").unlink()
    with pytest.raises(ModelError, match="data-00000-of-00001"):
        TensorBundle.open(prefix).read("x")


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path / "a", {"x": np.ones(3, np.float32)})
    with pytest.raises(ModelError, match="no variable 'y'"):
        TensorBundle.open(prefix).read("y")


def test_a_changed_tensor_is_noticed(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path / "a", {"x": np.ones(3, np.float32)})
    shard = tmp_path / "a.data-00000-of-00001"
    shard.write_bytes(b"\x01" + shard.read_bytes()[1:])
    with pytest.raises(ModelError, match="damaged at 'x'"):
        TensorBundle.open(prefix).read("x")


def test_every_changed_byte_of_the_index_is_noticed_or_harmless(tmp_path: Path) -> None:
    tensors = {"x": np.ones(3, np.float32), "y": np.arange(4, dtype=np.int64)}
    prefix = write_bundle(tmp_path / "a", tensors)
    path = tmp_path / "a.index"
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            bundle = TensorBundle.open(prefix)
            for name, tensor in tensors.items():
                np.testing.assert_array_equal(bundle.read(name), tensor)
        except ModelError:
            refused += 1
    assert refused >= len(whole) - 48 - 13  # only the footer's padding and the empty meta block


@pytest.mark.parametrize("length", [0, 10, 47, 60])
def test_a_truncated_index_is_refused(tmp_path: Path, length: int) -> None:
    prefix = write_bundle(tmp_path / "a", {"x": np.ones(3, np.float32)})
    path = tmp_path / "a.index"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelError, match="damaged"):
        TensorBundle.open(prefix)
