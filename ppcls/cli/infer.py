"""`ppcls infer`."""

from __future__ import annotations

import argparse

from ppcls.cli.options import Commands, add_config_options, config_of
from ppcls.cli.predictions import add_output_options, output
from ppcls.errors import ConfigError


def _infer(args: argparse.Namespace) -> int:
    config = config_of(args)
    from ppcls.checkpoints.weights import load_trained_model
    from ppcls.config import required
    from ppcls.config.class_names import trained_label_names
    from ppcls.config.schema import Topk
    from ppcls.devices import select_device
    from ppcls.inference.backends.eager import EagerBackend
    from ppcls.inference.inputs import find_inputs
    from ppcls.inference.predictor import Classifier

    config = config.deployed()
    options = required(config.Infer, "Infer", "ppcls infer")
    if options.infer_imgs is None:
        raise ConfigError("`ppcls infer` needs images: -o Infer.infer_imgs=FILE_OR_FOLDER")
    args.inputs, args.list, args.allow_url = [options.infer_imgs], [], False
    inputs = find_inputs(args.inputs)
    labels = trained_label_names(config)
    post = options.PostProcess
    pipeline = config.inference_pipeline()
    select_device(config.Global.device)
    classifier = Classifier(
        EagerBackend(load_trained_model(config, "ppcls infer", args.allow_random)),
        pipeline,
        labels,
        topk=post.topk if isinstance(post, Topk) else None,
        threshold=0.0 if isinstance(post, Topk) else post.thresholds(labels),
        batch_size=options.batch_size,
        multi_label=config.multi_label,
    )
    return output(classifier, inputs, args)


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    infer = commands.add(
        "infer",
        _infer,
        "predict with trained weights, without an export",
        """
        ppcls infer -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model \\
            -o Infer.infer_imgs=digits/7
        """,
    )
    add_config_options(infer, weights=True, data=True)
    add_output_options(infer)
