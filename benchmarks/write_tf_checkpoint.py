"""Write a ResFCN256 checkpoint with real TensorFlow, and what it answers: to check our import.

TensorFlow is no dependency; this script runs in an environment of its own and imports nothing of
this project:

    python3 -m venv tf && tf/bin/pip install tensorflow-cpu
    tf/bin/python benchmarks/write_tf_checkpoint.py OUT
    FACE3D_TF_CHECKPOINT=OUT pytest tests/networks/test_prnet_published.py

OUT then holds `resfcn256.index` and its shard, with random weights and an optimiser's slots, and
`answer.npz` with a random picture and the map that TensorFlow makes of it. `small.*` is a few
kilobytes with three variables, for the reader's own test.

The graph is that of the published `predictor.py`, without slim: the variables carry slim's names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

BLOCKS = [(32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
          (512, 1)]  # fmt: skip
RISES = [(512, 1), (256, 2), (256, 1), (256, 1), (128, 2), (128, 1), (128, 1), (64, 2), (64, 1),
         (64, 1), (32, 2), (32, 1), (16, 2), (16, 1), (3, 1), (3, 1), (3, 1)]  # fmt: skip
rng = np.random.default_rng(0)


def variable(name: str, value: Any) -> Any:
    return tf.get_variable(name, initializer=np.asarray(value, np.float32))


def norm(x: Any) -> Any:
    count = int(x.shape[-1])
    with tf.variable_scope("BatchNorm"):
        beta = variable("beta", rng.normal(0, 0.1, count))
        gamma = variable("gamma", rng.uniform(0.8, 1.2, count))
        mean = variable("moving_mean", rng.normal(0, 0.1, count))
        variance = variable("moving_variance", rng.uniform(0.5, 1.5, count))
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 0.001)


def conv(x: Any, outputs: int, kernel: int, stride: int, name: str, *, plain: bool = False) -> Any:
    inputs = int(x.shape[-1])
    with tf.variable_scope(name):
        spread = (1 / (kernel * kernel * inputs)) ** 0.5
        weights = variable("weights", rng.normal(0, spread, (kernel, kernel, inputs, outputs)))
        x = tf.nn.conv2d(x, weights, stride, "SAME")
        return x if plain else tf.nn.relu(norm(x))


def block(x: Any, outputs: int, stride: int, name: str) -> Any:
    with tf.variable_scope(name):
        shortcut = x
        if stride != 1 or int(x.shape[-1]) != outputs:
            shortcut = conv(x, outputs, 1, stride, "shortcut", plain=True)
        y = conv(x, outputs // 2, 1, 1, "Conv")
        y = conv(y, outputs // 2, 4, stride, "Conv_1")
        y = conv(y, outputs, 1, 1, "Conv_2", plain=True)
        return tf.nn.relu(norm(y + shortcut))


def rise(x: Any, outputs: int, stride: int, name: str, *, is_last: bool) -> Any:
    _, height, width, inputs = (int(size) for size in x.shape)
    with tf.variable_scope(name):
        spread = (1 / (16 * inputs / stride**2)) ** 0.5
        weights = variable("weights", rng.normal(0, spread, (4, 4, outputs, inputs)))
        shape = (1, height * stride, width * stride, outputs)
        x = norm(tf.nn.conv2d_transpose(x, weights, shape, stride, "SAME"))
        return tf.nn.sigmoid(x) if is_last else tf.nn.relu(x)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    picture = rng.random((1, 256, 256, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope("resfcn256"):
            x = conv(tf.constant(picture), 16, 4, 1, "Conv")
            for index, (outputs, stride) in enumerate(BLOCKS):
                x = block(x, outputs, stride, "resBlock" if index == 0 else f"resBlock_{index}")
            for index, (outputs, stride) in enumerate(RISES):
                name = "Conv2d_transpose" if index == 0 else f"Conv2d_transpose_{index}"
                x = rise(x, outputs, stride, name, is_last=index == len(RISES) - 1)
        variable("resfcn256/Conv/weights/Adam", rng.normal(size=(4, 4, 3, 16)))
        variable("beta1_power", 0.9)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(out / "resfcn256"), write_meta_graph=False)
        np.savez(out / "answer.npz", picture=picture[0], map=session.run(x)[0])
    with tf.Graph().as_default(), tf.Session() as session:
        variable("layer/weights", np.arange(24).reshape(2, 3, 4) / 8)
        variable("layer/bias", [0.5, -1.5])
        tf.get_variable("step", initializer=np.int64(1234567890123))
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(out / "small"), write_meta_graph=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
