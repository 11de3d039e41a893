"""Average the weights of two position map networks, one of which was trained on from the other.

    python benchmarks/average_weights.py BEFORE.safetensors AFTER.safetensors -o OUT.safetensors

What describes the faces (main shapes, likely faces, outline) is taken from AFTER.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1, alpha 0.5.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from face3d_cli.networks.prnet import load_prnet
from face3d_cli.training.prnet import save_prnet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()
    before, network = load_prnet(asked.before), load_prnet(asked.after)
    old = dict(before.named_parameters()) | {
        name: buffer for name, buffer in before.named_buffers() if "running_" in name
    }
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name in old:
                value.copy_((value.float() + old[name].float()) / 2)
    save_prnet(network, asked.out)


if __name__ == "__main__":
    main()
