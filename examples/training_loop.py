"""A training loop of your own, built from the parts of ppcls.

The folder is prepared by `ppcls data split` (or `ppcls data digits`):

    python examples/training_loop.py digits
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import paddle
import paddle.nn.functional as F

import ppcls


def fit(folder: Path, output: Path, arch: str, epochs: int) -> float:
    """Train, evaluate after each epoch, and save; return the last top-1 accuracy."""
    config = ppcls.load_config("quick_start/folder", [f"Arch.name={arch}"], data=folder)
    with ppcls.open_data(config) as data:
        model = ppcls.create_model(arch, class_num=len(data.labels))
        normalize = ppcls.Normalize(data.train.affine)
        optimizer = paddle.optimizer.AdamW(0.001, parameters=model.parameters())
        for epoch in range(1, epochs + 1):
            model.train()
            totals = ppcls.Totals()
            for batch in data.train.epoch(epoch):
                labels = paddle.to_tensor(batch.labels)
                logits = model(normalize(paddle.to_tensor(batch.images)))
                loss = F.cross_entropy(logits, labels)
                loss.backward()
                optimizer.step()
                optimizer.clear_grad()
                totals.add(loss, logits, labels)
            found = ppcls.evaluate_model(model, data.eval, config, data.labels)
            print(f"epoch {epoch}: {totals.means()['loss']:.4f}; {found.summary()}")
            ppcls.save_weights(model, output / "weights.pdparams")
    return found.score


def main(argv: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("output/training_loop"))
    parser.add_argument("--arch", default="HarDNet39_ds", help="as `ppcls list` prints them")
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args(argv)
    print(f"top-1 {fit(args.folder, args.output, args.arch, args.epochs):.4f}")


if __name__ == "__main__":
    main()
