"""The command line. Commands import what they need when they run, so that `--help` is instant."""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppcls import __version__
from ppcls.errors import ConfigError, DataError, PpclsError

if TYPE_CHECKING:
    from ppcls.config import Config
    from ppcls.data.lists import Split
    from ppcls.inference.inputs import Input
    from ppcls.inference.predictor import Classifier
    from ppcls.inference.results import Result

__all__ = ["main"]

_GRID_TILES = 48


def _config(args: argparse.Namespace) -> Config:
    from ppcls.config import data_overrides, load_config

    overrides = [o for group in args.override for o in group]
    if getattr(args, "data", None):
        overrides = data_overrides(args.data) + overrides
    return load_config(args.config, overrides)


def _train(args: argparse.Namespace) -> int:
    config = _config(args)
    from ppcls.engine.train import train

    result = train(config, overwrite=args.overwrite)
    minutes, seconds = divmod(round(result.seconds), 60)
    top1 = "" if result.best_top1 is None else f", best top-1 {result.best_top1:.4f}"
    print(f"trained in {minutes} min {seconds} s{top1}")
    print(f"weights  {result.best}")
    print(f"curves   {result.folder / 'curves.png'}")
    print(f"config   {result.folder / 'config.yaml'}")
    return 0


def _eval(args: argparse.Namespace) -> int:
    config = _config(args)
    from ppcls.engine.evaluate import evaluate

    found = evaluate(config, allow_random=args.allow_random)
    if args.json:
        print(json.dumps({"images": found.count, **found.means, "seconds": found.seconds}))
    else:
        print(f"{found.summary()} ({found.count} images in {found.seconds:.1f} s)")
    return 0


def _export(args: argparse.Namespace) -> int:
    config = _config(args)
    from ppcls.exporter.static_graph import export

    result = export(config, allow_random=args.allow_random)
    parity = result.spec.parity
    of = "random images" if parity.source == "random" else f"images of {parity.source}"
    print(f"exported to {result.folder}")
    print(
        f"the same logits as the model on {parity.images} {of}: largest difference "
        f"{parity.max_difference:.1e} of their standard deviation"
    )
    return 0


def _infer(args: argparse.Namespace) -> int:
    config = _config(args)
    from ppcls.data.lists import class_names
    from ppcls.data.transforms import Pipeline
    from ppcls.engine.setup import load_trained_model, require, select_device
    from ppcls.inference.backends.eager import EagerBackend
    from ppcls.inference.inputs import find_inputs
    from ppcls.inference.predictor import Classifier

    options = require(config.Infer, "Infer", "ppcls infer")
    if options.infer_imgs is None:
        raise ConfigError("`ppcls infer` needs images: -o Infer.infer_imgs=FILE_OR_FOLDER")
    inputs = find_inputs([options.infer_imgs])
    labels = class_names(options.PostProcess.class_id_map_file, config.Arch.class_num)
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


def _list(args: argparse.Namespace) -> int:
    from ppcls.cards import list_models, model_card
    from ppcls.cards.show import table

    # A word without wildcards is a part of the name: `ppcls list hardnet` finds what is meant.
    pattern = args.pattern if set(args.pattern) & set("*?[") else f"*{args.pattern}*"
    cards = [model_card(name) for name in list_models(pattern)]
    if args.json:
        print(json.dumps([card.to_dict() for card in cards], indent=2))
        return 0
    if not cards:
        print(f"no architecture matches {args.pattern!r}", file=sys.stderr)
        return 1
    print(table(cards))
    return 0


def _info(args: argparse.Namespace) -> int:
    from ppcls.cards import model_card
    from ppcls.cards.show import describe

    card = model_card(args.name)
    print(json.dumps(card.to_dict(), indent=2) if args.json else describe(card))
    return 0


def _show_config(args: argparse.Namespace) -> int:
    from ppcls.config import load_config
    from ppcls.config.show import diff_configs, json_schema, show_config

    overrides = [o for group in args.override for o in group]
    if args.schema:
        print(json_schema())
        return 0
    if args.config is None:
        raise ConfigError("name a configuration, such as quick_start/HarDNet39_ds")
    if args.diff is None:
        print(show_config(args.config, overrides))
        return 0
    lines = diff_configs(load_config(args.config, overrides), load_config(args.diff, overrides))
    print("\n".join(lines) or "no difference")
    return 0


def _convert(args: argparse.Namespace) -> int:
    from ppcls.arch.weights import read_weights, write_weights

    if Path(args.target).exists() and not args.overwrite:
        raise ConfigError(f"{args.target} exists; add --overwrite to replace it")
    state = read_weights(args.source)
    write_weights(state, args.target)
    print(f"{args.target}: {len(state)} arrays, {sum(a.size for a in state.values()):,} values")
    return 0


def _data_digits(args: argparse.Namespace) -> int:
    from ppcls.data.digits import write_digits

    _print_lists(args.folder, write_digits(args.folder, overwrite=args.overwrite))
    return 0


def _data_split(args: argparse.Namespace) -> int:
    from ppcls.data.lists import split_folder

    counts = split_folder(args.folder, val=args.val, seed=args.seed, overwrite=args.overwrite)
    _print_lists(args.folder, counts)
    return 0


def _print_lists(folder: str, split: Split) -> None:
    print(
        f"{folder}: {split.classes} classes, {split.train} images to train on, {split.val} held "
        "out; lists: train_list.txt, val_list.txt, label_list.txt"
    )
    if split.left_out:
        kinds = ", ".join(f"{count} {what}" for what, count in sorted(split.left_out.items()))
        print(f"{folder}: in no list, because not images that can be read: {kinds}")


def _png(text: str) -> str:
    path = Path(text)
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"expected a .png file in a folder that exists, not {text}"
        )
    return text


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, not {text}")
    return value


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, not {text}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, not {text}")
    return int(text)


class _Commands:
    """The parser of the whole command line, built command by command."""

    def __init__(self, parser: argparse.ArgumentParser):
        self._sub = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], about: str, examples: str
    ) -> argparse.ArgumentParser:
        command = self._sub.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=_examples(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command


def _examples(text: str) -> str:
    return "examples:\n" + textwrap.indent(textwrap.dedent(text).strip(), "  ")


def _add_override_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-o",
        "--override",
        action="append",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="set a value, such as Global.epochs=10 or KEY=null; KEY+=VALUE appends to a list; "
        "may be repeated",
    )


def _add_config_options(command: argparse.ArgumentParser, *, weights: bool, data: bool) -> None:
    command.add_argument(
        "-c",
        "--config",
        required=True,
        metavar="CONFIG",
        help="YAML file, or the name of one that ppcls ships, such as quick_start/HarDNet39_ds",
    )
    _add_override_option(command)
    if data:
        command.add_argument(
            "--data",
            metavar="DIR",
            help="a folder that `ppcls data split` prepared: sets the lists, the number of classes "
            "and their names (-o goes on top)",
        )
    if weights:
        command.add_argument(
            "--allow-random", action="store_true", help="go on with untrained weights"
        )


def _add_answer_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format",
        choices=("auto", "table", "jsonl"),
        default="auto",
        help="auto is a table on a terminal, else one JSON object a line",
    )
    command.add_argument(
        "--grid", type=_png, metavar="FILE.png", help="draw images with their best classes"
    )


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Image classification on PaddlePaddle: train, evaluate, export, predict.",
        epilog=_examples(
            """
            ppcls list                                     the architectures
            ppcls data digits digits                       a small real data set
            ppcls train -c quick_start/HarDNet39_ds        train on it
            ppcls data split photos                        your own folder: photos/<class>/*.jpg
            ppcls train -c quick_start/folder --data photos
            ppcls predict output/digits/inference 7.png    predict with an exported model
            """
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ppcls {__version__}")
    commands = _Commands(parser)

    train = commands.add(
        "train",
        _train,
        "train a model as a configuration says",
        """
        ppcls train -c quick_start/HarDNet39_ds
        ppcls train -c quick_start/HarDNet39_ds -o Global.epochs=20 Optimizer.lr.learning_rate=0.05
        ppcls train -c quick_start/folder --data photos -o Global.output_dir=output/photos
        """,
    )
    _add_config_options(train, weights=False, data=True)
    train.add_argument(
        "--overwrite", action="store_true", help="replace an earlier run in the same folder"
    )

    evaluate = commands.add(
        "eval",
        _eval,
        "evaluate trained weights on the held-out images",
        """
        ppcls eval -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model
        """,
    )
    _add_config_options(evaluate, weights=True, data=True)
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")

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
    _add_config_options(infer, weights=True, data=True)
    _add_answer_options(infer)

    export = commands.add(
        "export",
        _export,
        "make an inference model of trained weights, and prove it equal",
        """
        ppcls export -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model \\
            -o Global.save_inference_dir=output/digits/inference
        """,
    )
    _add_config_options(export, weights=True, data=True)

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
    predict.add_argument("--topk", type=_positive, metavar="K", help="classes in an answer")
    predict.add_argument("--batch-size", type=_positive, default=32, metavar="N")
    predict.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    predict.add_argument(
        "--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)"
    )
    _add_answer_options(predict)

    list_ = commands.add(
        "list",
        _list,
        "print the architectures",
        """
        ppcls list
        ppcls list "HarDNet*" --json
        """,
    )
    list_.add_argument("pattern", nargs="?", default="*", metavar="PATTERN")
    list_.add_argument("--json", action="store_true", help="print a JSON list of model cards")

    info = commands.add(
        "info",
        _info,
        "print all that is known of an architecture: its model card",
        """
        ppcls info HRNet_W48_C
        ppcls info DPN68 --json
        """,
    )
    info.add_argument("name", metavar="NAME", help="as `ppcls list` prints it")
    info.add_argument("--json", action="store_true", help="print a JSON object")

    config = commands.add(
        "config",
        _show_config,
        "print a configuration as it will be used, and where each value came from",
        """
        ppcls config quick_start/HarDNet39_ds -o Global.epochs=20
        ppcls config quick_start/HarDNet39_ds --diff quick_start/folder
        ppcls config --schema > ppcls.schema.json
        """,
    )
    config.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file, or a shipped name")
    _add_override_option(config)
    config.add_argument("--diff", metavar="OTHER", help="compare with another configuration")
    config.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of configurations"
    )

    convert = commands.add(
        "convert",
        _convert,
        "rewrite weights as .pdparams, .safetensors or .npz",
        """
        ppcls convert best_model.pdparams best_model.safetensors
        """,
    )
    convert.add_argument("source", metavar="IN", help="the file to read")
    convert.add_argument("target", metavar="OUT", help="the file to write, by its suffix")
    convert.add_argument("--overwrite", action="store_true", help="replace a file that is there")

    data = _Commands(
        commands.add(
            "data",
            _data_split,
            "make data sets and image lists",
            """
            ppcls data digits digits
            ppcls data split photos --val 0.2
            """,
        )
    )
    digits = data.add(
        "digits",
        _data_digits,
        "write the UCI handwritten digits as image files (needs scikit-learn)",
        "ppcls data digits digits",
    )
    digits.add_argument("folder", metavar="DIR")
    split = data.add(
        "split",
        _data_split,
        "write train, val and label lists for a folder with one sub-folder of images per class",
        """
        ppcls data split photos
        ppcls data split photos --val 0.1 --seed 1 --overwrite
        """,
    )
    split.add_argument("folder", metavar="DIR")
    split.add_argument("--val", type=_share, metavar="SHARE", help="held out of each class (0.2)")
    split.add_argument("--seed", type=_natural, default=0, help="of the choice (0)")
    for command in (digits, split):
        command.add_argument(
            "--overwrite", action="store_true", help="replace lists that are there and differ"
        )
    return parser


def _quiet_libraries() -> None:
    """Keep off the terminal what users of a command can do nothing about."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found")
    warnings.filterwarnings("ignore", message="When training, we now always track global mean")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def main(argv: Sequence[str] | None = None, prog: str = "ppcls") -> int:
    """Run a command line and return its exit status.

    0: done. 1: data, weights or run time. 2: usage or configuration. 130: interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks must not stop what is being done.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args: Any = _parser(prog).parse_args(argv)
    _quiet_libraries()
    try:
        status = args.run(args)
        # Here rather than when the interpreter ends, where nobody could answer for a failure.
        sys.stdout.flush()
        return status
    except PpclsError as error:
        for line in str(error).splitlines():
            print(f"{prog}: error: {line}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of a pipe (`| head`) has gone: nothing more is to be written to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print(f"{prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
