"""Export every architecture to both formats of Paddle and to ONNX, and hold each to the model.

usage: export_table.py [--input-size SIDE] [--fresh] [--out TABLE.md] [NAME ...]

Parameters are filled by their names (see parity.py), so that each layer matters, and the batch
norms get the statistics of random images, so that activations stay near one: as in trained weights.
Without the statistics the activations of SE_HRNet grow by six orders of magnitude, and two exports
differ as float32 does from float64. SENet154_vd so filled amplifies rounding with them, too: it is
proven with the weights it is made with (--fresh).
Prints a row as each architecture is done; exit status 1 if one of them failed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle
import parity
from paddle import nn

import ppcls
from ppcls.config import load_config
from ppcls.errors import PpclsError
from ppcls.models.weights import save_weights

HEADER = ("| architecture | .json | ONNX | .pdmodel | MiB | seconds |\n|---|---|---|---|---|---|",)


@paddle.no_grad()
def settle(model: nn.Layer) -> None:
    """Set the statistics of batch norms to those of 8 random images."""
    norms = [layer for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    if not norms:
        return
    for norm in norms:
        norm._momentum = 0.0
    model.train()
    model(paddle.to_tensor(np.random.default_rng(0).normal(size=(8, 3, 64, 64)).astype("f4")))
    model.eval()


def rows(names: list[str], side: int | None, fresh: bool) -> Iterator[tuple[str, bool]]:
    """Yield a row of the table for each architecture, and whether all agreed."""
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix="export-"))
        start = time.monotonic()
        try:
            model = ppcls.create_model(name)
            if not fresh:
                parity.fill_model(model)
                settle(model)
            save_weights(model, folder / "w.npz")
            del model
            overrides = [
                f"Global.pretrained_model={folder / 'w.npz'}",
                f"Global.save_inference_dir={folder / 'inference'}",
                "DataLoader={}",
            ]
            config = load_config(name, overrides)
            newer = ppcls.export(config, onnx=True, input_size=side).spec
            size = sum(p.stat().st_size for p in (folder / "inference").iterdir()) / 2**20
            older = ppcls.export(config, file_format="pdmodel", input_size=side).spec
            checks = [*newer.parity.checks, *older.parity.checks]
            found = " | ".join(f"{check.max_difference_random:.1e}" for check in checks)
            seconds = time.monotonic() - start
            yield f"| {name} | {found} | {size:.0f} | {seconds:.0f} |", True
        except PpclsError as error:
            yield f"| {name} | {error} |", False
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all architectures")
    parser.add_argument("--input-size", type=int, metavar="SIDE", help="default: each one's own")
    parser.add_argument("--fresh", action="store_true", help="weights as a new model has them")
    parser.add_argument("--out", type=Path, metavar="TABLE.md", help="write the table there too")
    args = parser.parse_args()
    lines, right = list(HEADER), True
    print(*HEADER, sep="\n", flush=True)
    for row, agreed in rows(args.names or ppcls.list_models(), args.input_size, args.fresh):
        print(row, flush=True)
        lines.append(row)
        right &= agreed
        if args.out:
            args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
