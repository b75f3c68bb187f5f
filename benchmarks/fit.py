"""Accuracy and time of `ppcls fit`, of its fine-tuning, and of a training with the recipe.

Each row starts from the same pretrained weights and is measured on the same validation images. The
first fit begins with an empty cache, the second one repeats it, and the third one has an image
more. Only ratios of one run compare: the machine and its load change all times alike.

    python benchmarks/fit.py photos
    python benchmarks/fit.py digits --size 32 --epochs 3
    python benchmarks/fit.py photos --weights SqueezeNet1_1.npz --only fit
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from ppcls.data.folders import split_folder
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST, read_image_list, read_label_names
from ppcls.fitting.features import needs_linear_head
from ppcls.fitting.fit import DEFAULT_MODEL, fit
from ppcls.fitting.recipe import Lists, recipe_config, recipe_text
from ppcls.training.train import train

ROWS = ("fit", "finetune", "train")


def copied(folder: Path, target: Path) -> None:
    """Copy a folder of classes, and write its lists if it has none."""
    shutil.copytree(folder, target)
    if not (target / LABEL_LIST).is_file():
        split_folder(target)


def add_image(folder: Path) -> None:
    """Add a picture of noise to the training images of the first class."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "one_more.png")
    with (folder / TRAIN_LIST).open("a", encoding="utf-8") as file:
        file.write("one_more.png 0\n")


def trained(folder: Path, out: Path, args: argparse.Namespace) -> float:
    """Train with the recipe; return the best accuracy."""
    names = read_label_names(folder / LABEL_LIST)
    count = len(read_image_list(folder / TRAIN_LIST, folder, len(names)))
    paths = (folder, folder, folder / TRAIN_LIST, folder / VAL_LIST, folder / LABEL_LIST)
    pretrained = args.weights or True
    lists = Lists(*paths, count, len(names))
    text = recipe_text(
        args.model,
        lists,
        out,
        pretrained=pretrained,
        size=args.size,
        epochs=args.epochs,
        head="linear" if needs_linear_head(args.model) else None,
    )
    return train(recipe_config(text)).best_metric or 0.0


def measure(args: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    photos, found = work / "photos", []
    copied(args.folder, photos)
    options = {"model": args.model, "weights": args.weights, "size": args.size}

    def row(name: str, run: Any) -> None:
        start = perf_counter()
        accuracy = run()
        seconds = perf_counter() - start
        ratio = seconds / found[0]["seconds"] if found else 1.0
        found.append({"row": name, "accuracy": accuracy, "seconds": seconds, "ratio": ratio})

    if "fit" in args.only:
        row("fit, empty cache", lambda: fit(photos, work / "fit", **options).accuracy)
        row("fit again", lambda: fit(photos, work / "fit", **options).accuracy)
    if "finetune" in args.only:
        tuned = {"finetune": True, "minutes": args.minutes}
        row("fit --finetune", lambda: fit(photos, work / "tuned", **options, **tuned).accuracy)
    if "train" in args.only:
        row("train with the recipe", lambda: trained(photos, work / "trained", args))
    if "fit" in args.only:
        add_image(photos)
        row("fit, one image more", lambda: fit(photos, work / "fit", **options).accuracy)
    return found


def main() -> None:
    """Measure and print."""
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="images in class folders, or lists"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME")
    parser.add_argument("--weights", metavar="FILE", help="default: the published ones")
    parser.add_argument("--size", type=int, metavar="N", help="side of the images in pixels")
    parser.add_argument("--epochs", type=int, metavar="N", help="of the training (by the images)")
    parser.add_argument("--minutes", type=float, metavar="M", help="of the fine-tuning")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if args.weights:
        args.weights = str(Path(args.weights).resolve())
    with TemporaryDirectory() as work:
        os.environ["PPCLS_HOME"] = str(Path(work) / "home")
        rows = measure(args, Path(work))
    if args.json:
        print(json.dumps(rows))
        return
    print("| | accuracy | seconds | ratio |\n|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['row']} | {row['accuracy']:.4f} | {row['seconds']:.1f} | {row['ratio']:.2f} |"
        )


if __name__ == "__main__":
    main()
