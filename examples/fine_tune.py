"""Fine-tune a pretrained network on a folder of your own images.

The folder has one sub-folder for each class: photos/cat/1.jpg, photos/dog/7.jpg …

    python examples/fine_tune.py photos

Published ImageNet weights are downloaded once. The results are training curves, the best weights,
and an exported model with its class names, for `ppcls predict` and the other examples.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import ppcls


def fine_tune(photos: Path, output: Path, arch: str, weights: str, epochs: int) -> Path:
    """Train, evaluate and export; return the folder of the exported model."""
    # A fifth of each class is the validation set: images that the network is not trained on.
    if not (photos / "label_list.txt").is_file():
        ppcls.split_folder(photos)

    # A recipe for small data sets, with changes. Pretrained weights need smaller steps than random
    # ones: a tenth of the recipe's learning rate.
    config = ppcls.load_config(
        "quick_start/folder",
        [
            *ppcls.data_overrides(photos),
            f"Arch.name={arch}",
            f"Arch.pretrained={weights}",
            f"Global.epochs={epochs}",
            f"Global.output_dir={output}",
            f"Global.save_inference_dir={output / 'inference'}",
            "Optimizer.lr.learning_rate=0.005",
        ],
    )
    result = ppcls.train(config, overwrite=True)

    # The run saves its complete configuration beside its weights; use it from here on.
    best = ppcls.load_config(
        result.folder / "config.yaml", [f"Global.pretrained_model={result.best}"]
    )
    print(ppcls.evaluate(best).summary())
    return ppcls.export(best).folder


def main(argv: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--output", type=Path, default=Path("output/fine_tuned"))
    parser.add_argument("--arch", default="HarDNet39_ds", help="as `ppcls list` prints them")
    parser.add_argument(
        "--weights", default="true", help="true (published), false (random), or a file"
    )
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args(argv)
    print("exported to", fine_tune(args.photos, args.output, args.arch, args.weights, args.epochs))


if __name__ == "__main__":
    main()
