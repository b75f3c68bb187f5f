"""`deploy/python/predict_cls.py`: PaddleClas's deployment script, with ppcls's predictor."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ppcls.cli import run
from ppcls.cli.options import Parser, add_override_option, add_plugin_option
from ppcls.errors import ConfigError
from ppcls.printable import printable

__all__ = ["main"]


def _predict(args: argparse.Namespace) -> int:
    from ppcls.compat.inference_cls import load_deploy_config, open_predictor
    from ppcls.inference.inputs import find_inputs

    config = load_deploy_config(args.config, [o for group in args.override for o in group])
    if config.Global.infer_imgs is None:
        raise ConfigError("no images: -o Global.infer_imgs=FILE_OR_FOLDER")
    inputs = find_inputs([config.Global.infer_imgs])
    count = failed = 0
    preprocessing = computing = 0.0
    with open_predictor(config) as predictor:
        print(f"backend  {predictor.description}", file=sys.stderr)
        start = time.perf_counter()
        for result in predictor.predict([one.path for one in inputs], timing=True):
            name = printable(Path(result.source).name)
            count += 1
            if result.error is not None:
                failed += 1
                print(f"{name}:\terror: {printable(result.error)}")
                continue
            if result.timing:
                preprocessing += result.timing.preprocess_ms
                computing += result.timing.compute_ms / result.timing.batch_size
            scores = ", ".join(f"{score:.2f}" for score in result.scores)
            print(
                f"{name}:\tclass id(s): {result.class_ids}, score(s): [{scores}], "
                f"label_name(s): {result.label_names}"
            )
        seconds = time.perf_counter() - start
    if config.Global.enable_benchmark:
        done = max(1, count - failed)
        print(
            f"{count} images in {seconds:.2f} s, {count / seconds:.1f} a second; each "
            f"{preprocessing / done:.2f} ms of preprocessing and {computing / done:.2f} ms of "
            f"inference, in parallel, in batches of {config.Global.batch_size}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    parser = Parser(
        description="Predict with an exported model, with PaddleClas's configuration keys.",
        epilog="example: python deploy/python/predict_cls.py -c deploy/configs/inference_cls.yaml "
        "-o Global.infer_imgs=photos -o Global.inference_model_dir=output/inference",
    )
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="YAML file")
    add_override_option(parser)
    add_plugin_option(parser)
    parser.set_defaults(run=_predict)
    return run(parser, argv)
