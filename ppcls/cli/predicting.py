"""`ppcls predict` and `ppcls infer`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppcls.cli.parsing import Commands, add_config_options, config_of, png_file, positive
from ppcls.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ppcls.inference.inputs import Input
    from ppcls.inference.predictor import Classifier
    from ppcls.inference.results import Result

_GRID_TILES = 48


def _infer(args: argparse.Namespace) -> int:
    config = config_of(args)
    from ppcls.config.classes import label_names
    from ppcls.data.transforms import Pipeline
    from ppcls.engine.setup import load_trained_model, require, select_device
    from ppcls.inference.backends.eager import EagerBackend
    from ppcls.inference.inputs import find_inputs
    from ppcls.inference.predictor import Classifier

    options = require(config.Infer, "Infer", "ppcls infer")
    if options.infer_imgs is None:
        raise ConfigError("`ppcls infer` needs images: -o Infer.infer_imgs=FILE_OR_FOLDER")
    inputs = find_inputs([options.infer_imgs])
    labels = label_names(config)
    select_device(config.Global.device)
    classifier = Classifier(
        EagerBackend(load_trained_model(config, "ppcls infer", args.allow_random)),
        Pipeline(options.transforms),
        labels,
        topk=options.PostProcess.topk,
        batch_size=options.batch_size,
    )
    return _answer(classifier, inputs, args)


def _predict(args: argparse.Namespace) -> int:
    from ppcls.inference.inputs import find_inputs
    from ppcls.inference.predictor import Predictor

    inputs = find_inputs(args.inputs)
    predictor = Predictor(
        args.bundle,
        device=args.device,
        threads=args.threads,
        topk=args.topk,
        batch_size=args.batch_size,
    )
    return _answer(predictor, inputs, args)


def _answer(classifier: Classifier, inputs: Sequence[Input], args: argparse.Namespace) -> int:
    """Print the answers as they come, draw them if asked, and count what went wrong."""
    from tqdm import tqdm

    for one in inputs:
        if one.label is not None and not 0 <= one.label < len(classifier.labels):
            raise DataError(
                f"{one.path}: its list gives it label {one.label}, and the model knows "
                f"0..{len(classifier.labels) - 1}"
            )
    table = args.format == "table" or (args.format == "auto" and sys.stdout.isatty())
    answered: list[tuple[Input, Result]] = []
    results = classifier.predict(one.path for one in inputs)
    with tqdm(total=len(inputs), leave=False, disable=not sys.stderr.isatty()) as bar:
        for one, result in zip(inputs, results, strict=True):
            tqdm.write(_row(result) if table else json.dumps(result.to_dict(), ensure_ascii=False))
            bar.update()
            if result.error is None:
                answered.append((one, result))
    labelled = [(one, result) for one, result in answered if one.label is not None]
    if labelled:
        right = sum(result.class_ids[0] == one.label for one, result in labelled)
        print(
            f"top-1 {right / len(labelled):.5f}: {right} of {len(labelled)} images are of the "
            "class that their list says",
            file=sys.stderr,
        )
    if args.grid and answered:
        _draw(answered, classifier.labels, args.grid)
        print(f"picture  {args.grid}", file=sys.stderr)
    failed = len(inputs) - len(answered)
    if failed:
        print(f"{failed} of {len(inputs)} images could not be read", file=sys.stderr)
    return 1 if failed else 0


def _row(result: Result) -> str:
    if result.error is not None:
        return f"{result.source}  error: {result.error}"
    answers = zip(result.label_names, result.scores, strict=True)
    return f"{result.source}  " + "  ".join(f"{name} {score:.3f}" for name, score in answers)


def _draw(answered: Sequence[tuple[Input, Result]], labels: Sequence[str], picture: str) -> None:
    """Draw mistakes first, up to half of the picture, then answers from all over the inputs."""
    from ppcls.data import image
    from ppcls.plots import Tile, prediction_grid

    wrong = [a for a in answered if a[0].label not in (None, a[1].class_ids[0])]
    wrong = wrong[: _GRID_TILES // 2]
    others = [a for a in answered if a[0].label in (None, a[1].class_ids[0])]
    others = others[:: max(1, -(-len(others) // (_GRID_TILES - len(wrong))))]
    tiles = []
    for one, result in wrong + others:
        caption = f"{result.label_names[0]} {result.scores[0]:.2f}"
        if one.label not in (None, result.class_ids[0]):
            caption += f" (is {labels[one.label]})"
        tiles.append(Tile(image.read(one.path), caption, (one, result) in wrong))
    prediction_grid(tiles, picture)


def _add_answer_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format",
        choices=("auto", "table", "jsonl"),
        default="auto",
        help="auto is a table on a terminal, else one JSON object a line",
    )
    command.add_argument(
        "--grid", type=png_file, metavar="FILE.png", help="draw images with their best classes"
    )


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    infer = commands.add(
        "infer",
        _infer,
        "predict with trained weights, without export",
        """
        ppcls infer -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model \\
            -o Infer.infer_imgs=digits/7
        """,
    )
    add_config_options(infer, weights=True, data=True)
    _add_answer_options(infer)

    predict = commands.add(
        "predict",
        _predict,
        "predict with an exported model",
        """
        ppcls predict output/digits/inference digits/7/0017.png
        ppcls predict output/digits/inference digits/val_list.txt --grid predictions.png
        ppcls predict output/digits/inference photos --format jsonl > answers.jsonl
        """,
    )
    predict.add_argument("bundle", metavar="BUNDLE", help="the folder that `ppcls export` wrote")
    predict.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="an image, a folder, a glob pattern, or a .txt list of images, with or without labels",
    )
    predict.add_argument("--topk", type=positive, metavar="K", help="classes in an answer")
    predict.add_argument("--batch-size", type=positive, default=32, metavar="N")
    predict.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    predict.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads (default: all cores)"
    )
    _add_answer_options(predict)
