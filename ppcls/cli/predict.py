"""`ppcls predict`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ppcls.cli.options import Commands, UsageError, add_backend_options, positive, score
from ppcls.cli.predictions import add_output_options, output


def _predict(args: argparse.Namespace) -> int:
    from ppcls.exporting.by_name import Predictor
    from ppcls.inference.inputs import find_inputs

    if not (args.inputs or args.list):
        raise UsageError("`ppcls predict` needs an INPUT or --list")
    inputs = find_inputs(args.inputs, args.list)
    with Predictor(
        args.model,
        pretrained=args.weights or args.pretrained,
        backend=args.backend,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        topk=args.topk,
        threshold=args.threshold,
        batch_size=args.batch_size,
        allow_url=args.allow_url,
        labels=args.labels,
        transforms=_transforms(args.transforms),
        softmax=False if args.logits else None,
        multi_label=args.multi_label or None,
    ) as predictor:
        print(f"backend  {predictor.description}", file=sys.stderr)
        return output(predictor, inputs, args)


def _transforms(text: str | None) -> Any:
    """Return the value of `--transforms`: a list of transforms, or `imagenet`."""
    if text in (None, "imagenet"):
        return text
    from ppcls.compat.inference_cls import read_transforms

    return read_transforms(Path(str(text)))


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    predict = commands.add(
        "predict",
        _predict,
        "predict with an exported model",
        """
        ppcls predict output/digits/inference digits/7/0017.png
        ppcls predict output/digits/inference digits/val_list.txt --grid predictions.png
        ppcls predict output/digits/inference photos --csv answers.csv --save-images answers
        ppcls predict output/digits/inference photos --threshold 0.5 | jq .label_names
        ppcls predict HRNet_W18_C photos --pretrained
        find photos -newer answers.csv -name '*.jpg' | ppcls predict bundle --list -
        curl -s https://example.org/cat.jpg | ppcls predict bundle -
        """,
    )
    predict.add_argument(
        "model",
        metavar="MODEL",
        help="a folder written by `ppcls export`, or the name of an architecture "
        "(with --pretrained or --weights), which is exported to the cache once",
    )
    predict.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="an image, a folder, a glob pattern, a .txt list of images, with or without labels, "
        "a URL (with --allow-url), or - for an image from standard input",
    )
    predict.add_argument(
        "--list",
        action="append",
        default=[],
        metavar="FILE|-",
        help="a list of images, one a line, with or without labels; - reads it from standard "
        "input, with paths relative to the current folder; may be repeated",
    )
    predict.add_argument("--topk", type=positive, metavar="K", help="classes per image")
    predict.add_argument(
        "--threshold",
        type=score,
        metavar="SCORE",
        help="leave out classes with a lower score (default: 0); a multi-label model gives those "
        "above it (default: the thresholds of the export)",
    )
    predict.add_argument("--batch-size", type=positive, default=32, metavar="N")
    weights = predict.add_mutually_exclusive_group()
    weights.add_argument(
        "--pretrained", action="store_true", help="published weights for a named architecture"
    )
    weights.add_argument("--weights", metavar="FILE", help="weights for a named architecture")
    predict.add_argument("--labels", metavar="FILE", help="other class names: `label name` lines")
    foreign = predict.add_argument_group("models exported by other tools")
    foreign.add_argument(
        "--transforms",
        metavar="imagenet|FILE",
        help="short side to 256, centre crop of 224, ImageNet's mean and deviation; or a YAML file "
        "with PreProcess.transform_ops",
    )
    foreign.add_argument(
        "--logits", action="store_true", help="the model does not end with a softmax or sigmoid"
    )
    foreign.add_argument(
        "--multi-label", action="store_true", help="an image may have several classes, or none"
    )
    predict.add_argument("--allow-url", action="store_true", help="fetch inputs that are URLs")
    add_backend_options(predict)
    add_output_options(predict)
