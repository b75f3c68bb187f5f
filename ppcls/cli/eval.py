"""`ppcls eval`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ppcls.cli.options import (
    Commands,
    UsageError,
    add_backend_options,
    add_check_option,
    add_config_options,
    config_of,
)
from ppcls.errors import BundleError, ConfigError
from ppcls.printable import counted, say

_CLASSES_ON_SCREEN = 40


def _eval_bundle(args: argparse.Namespace) -> int:
    from ppcls.evaluation.bundle import (
        evaluate_label_sets,
        evaluate_predictor,
        held_out_images,
        refuse_other_names,
    )
    from ppcls.evaluation.chosen_metrics import evaluation_metrics
    from ppcls.inference.model_folder import describes_itself
    from ppcls.inference.predictor import Predictor

    unused = {
        "--report": args.report,
        "--check": args.check,
        "--allow-random": args.allow_random,
        "-o": args.override and not args.config,
    }
    for option in (name for name, given in unused.items() if given):
        with_config = " with -c CONFIG" if option == "-o" else " of weights, without --bundle"
        raise UsageError(f"{option} is for an evaluation{with_config}")
    if not describes_itself(Path(args.bundle)):
        raise BundleError(
            f"{args.bundle}: not an exported model that can be evaluated: it has no inference.yml; "
            "`ppcls export` makes one"
        )
    predictor = Predictor(
        args.bundle,
        backend=args.backend,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        topk=5,
        softmax=False if args.logits else None,
    )
    with predictor:
        classes = len(predictor.labels)
        if args.data:
            refuse_other_names(args.data, predictor.labels)
        metrics = None
        if args.config:
            config = config_of(args)
            data = config.DataLoader.Eval
            if data is None:
                raise ConfigError(f"{args.config}: no section DataLoader.Eval")
            if config.multi_label != predictor.multi_label:
                kinds = [
                    "multi-label" if several else "single-label"
                    for several in (predictor.multi_label, config.multi_label)
                ]
                raise ConfigError(
                    f"{args.bundle} is a {kinds[0]} model, but {args.config} is for a {kinds[1]} "
                    "one (Loss.Eval)"
                )
            samples = data.dataset.read(classes)
            metrics = evaluation_metrics(config)
        elif args.data:
            samples = held_out_images(args.data, classes, multi_label=predictor.multi_label)
        else:
            raise UsageError("--bundle needs images: --data FOLDER or LIST, or -c CONFIG")
        print(f"backend  {predictor.description}", file=sys.stderr)
        if predictor.multi_label:
            found = evaluate_label_sets(predictor, samples, metrics)
        else:
            found = evaluate_predictor(predictor, samples)
    _warn(found.warning)
    if args.json:
        print(json.dumps({"images": found.count, **found.means, "seconds": found.seconds}))
    else:
        print(f"{found.summary()} ({counted(found.count, 'image')} in {found.seconds:.1f} s)")
    return 0


def _warn(warning: str) -> None:
    if warning:
        print(f"warning: {warning}", file=sys.stderr)


def _eval(args: argparse.Namespace) -> int:
    if args.bundle:
        return _eval_bundle(args)
    for option in ("backend", "device", "precision", "threads", "logits"):
        if getattr(args, option) != args.parser.get_default(option):
            way_out = "; -o Global.device=… is for weights" if option == "device" else ""
            raise UsageError(
                f"--{option} is for --bundle DIR: without it, Paddle evaluates the weights as "
                f"they were trained{way_out}"
            )
    if not args.config:
        raise UsageError("ppcls eval needs -c CONFIG, or --bundle DIR with --data")
    if args.check and (args.json or args.report):
        option = "--json" if args.json else "--report"
        raise UsageError(f"--check evaluates only one batch, so {option} has no results")
    config = config_of(args)
    if args.check:
        from ppcls.training.dry_run import check_evaluation

        for line in check_evaluation(config, args.allow_random):
            say(line)
        return 0
    from ppcls import distributed
    from ppcls.evaluation.evaluate import evaluate
    from ppcls.evaluation.report import class_table, report_data, rows_of

    found = evaluate(config, allow_random=args.allow_random, report=args.report)
    if distributed.rank() != 0:
        return 0
    _warn(found.warning)
    if args.json:
        print(json.dumps(report_data(found), ensure_ascii=False))
        return 0
    if len(found.names) <= _CLASSES_ON_SCREEN:
        print(class_table(rows_of(found)))
    print(f"{found.summary()} ({counted(found.count, 'image')} in {found.seconds:.1f} s)")
    if args.report:
        say(f"report   {Path(args.report) / 'report.md'}")
    return 0


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    evaluate = commands.add(
        "eval",
        _eval,
        "evaluate trained weights on the validation set",
        """
        ppcls eval -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model
        ppcls eval -c HRNet_W18_C -o Arch.pretrained=true --report report --json
        ppcls eval --bundle output/digits/inference --backend openvino --data digits
        """,
    )
    add_config_options(evaluate, weights=True, data=True, required=False)
    evaluate.add_argument(
        "--bundle",
        metavar="DIR",
        help="evaluate an exported model on the images of -c or --data (a folder with "
        "val_list.txt, or a list)",
    )
    bundle = evaluate.add_argument_group("with --bundle")
    add_backend_options(bundle)
    bundle.add_argument(
        "--logits",
        action="store_true",
        help="the model is PaddleClas's and does not end with a softmax",
    )
    add_check_option(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument(
        "--report",
        metavar="DIR",
        help="write tables and plots: per class, confusion, calibration, worst mistakes",
    )
