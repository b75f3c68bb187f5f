"""`ppcls export`."""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING

from ppcls.cli.options import Commands, UsageError, add_config_options, config_of
from ppcls.printable import counted, say

if TYPE_CHECKING:
    from ppcls.bundle import Parity
    from ppcls.config import Config


def input_size(text: str) -> tuple[int, int]:
    """Parse `SIDE` or `HEIGHTxWIDTH`, in pixels."""
    sizes = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    height, width = (int(side) for side in (sizes[1], sizes[2] or sizes[1])) if sizes else (0, 0)
    if not (0 < height <= 16384 and 0 < width <= 16384):
        raise argparse.ArgumentTypeError(f"expected SIDE or HEIGHTxWIDTH in pixels, not {text}")
    return height, width


def _config(args: argparse.Namespace) -> Config:
    """Return the configuration of either form of the command line."""
    if args.source is None:
        if args.config is None:
            raise UsageError("`ppcls export` needs a checkpoint, a configuration or a name")
        if args.weights is not None:
            raise UsageError("--weights needs SOURCE; with -c, use -o Global.pretrained_model=…")
        return config_of(args)
    if args.config is not None:
        raise UsageError(f"{args.source} and -c {args.config} are two sources; leave out one")
    from ppcls.config import data_overrides
    from ppcls.config.from_checkpoint import trained_config

    overrides = [f"Global.save_inference_dir={json.dumps(args.folder)}"] if args.folder else []
    if args.data:
        overrides += data_overrides(args.data)
    overrides += [override for group in args.override for override in group]
    return trained_config(
        args.source, overrides, weights=args.weights, allow_random=args.allow_random
    )


def _describe(parity: Parity, *, multi_label: bool) -> list[str]:
    if not parity.verified:
        return ["unverified: not compared with the model (--no-check)"]
    what = [f"{counted(parity.images, 'image')} of {parity.source}"] if parity.images else []
    what.append(f"{parity.random_images} random images")
    same = "logits" if multi_label else "best class and logits"
    lines = [f"parity check passed: same {same} on {' and '.join(what)}:"]
    for check in parity.checks:
        found = max(check.max_difference or 0.0, check.max_difference_random)
        lines.append(
            f"  {check.file}, run by {check.engine}: largest difference {found:.1e} standard "
            f"deviations of the logits (allowed {parity.tolerance:.0e})"
        )
    return lines


def _export(args: argparse.Namespace) -> int:
    config = _config(args)
    from ppcls.exporting.export import export

    result = export(
        config,
        allow_random=args.allow_random,
        file_format=args.format,
        input_size=args.input_size,
        softmax=args.softmax,
        sigmoid=args.sigmoid,
        features=args.features,
        uint8_input=args.uint8_input,
        onnx=args.onnx,
        check=not args.no_check,
    )
    if args.json:
        record = {"folder": str(result.folder), "parity": result.spec.parity.model_dump()}
        print(json.dumps(record | {"files": result.spec.files}, indent=2, ensure_ascii=False))
        return 0
    spec = result.spec
    say(f"exported to {result.folder}")
    for line in _describe(spec.parity, multi_label=spec.Output.multi_label):
        say(line)
    return 0


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    export = commands.add(
        "export",
        _export,
        "export trained weights as an inference model, with a parity check",
        """
        ppcls export output/digits/HarDNet39_ds/best_model output/digits/inference
        ppcls export DenseNet121 densenet --onnx             published ImageNet weights
        ppcls export HRNet_W18_C hrnet --weights mine.pdparams \\
            -o Arch.class_num=10 Infer.PostProcess.class_id_map_file=label_list.txt
        ppcls export -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model \\
            -o Global.save_inference_dir=output/digits/inference
        """,
    )
    export.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="a checkpoint of a run, such as output/x/HarDNet68/best_model; a configuration; or "
        "the name of an architecture",
    )
    export.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="the output folder (default: `inference` beside a run's checkpoint; otherwise "
        "Global.save_inference_dir)",
    )
    add_config_options(export, weights=True, data=True, required=False)
    export.add_argument(
        "--weights",
        metavar="PATH",
        help="a weights file, a URL or the name of a published variant, instead of the weights of "
        "SOURCE",
    )
    export.add_argument(
        "--format",
        choices=("json", "pdmodel"),
        default="json",
        help="format of Paddle's graph; pdmodel is the older one, for Paddle Lite and old versions",
    )
    export.add_argument(
        "--onnx", action="store_true", help="also write inference.onnx (pip install 'ppcls[onnx]')"
    )
    export.add_argument(
        "--softmax", action="store_true", help="output probabilities instead of logits"
    )
    export.add_argument("--sigmoid", action="store_true", help="the same for a multi-label model")
    export.add_argument(
        "--features",
        action="store_true",
        help="add the pooled last feature map as a second output",
    )
    export.add_argument(
        "--input-size",
        type=input_size,
        metavar="SIDE|HxW",
        help="another input size; the transforms are scaled with it",
    )
    export.add_argument(
        "--uint8-input",
        action="store_true",
        help="take raw pixels, uint8 NHWC, and normalise them in the graph",
    )
    export.add_argument(
        "--no-check",
        action="store_true",
        help="skip the parity check, and mark the bundle as unverified",
    )
    export.add_argument("--json", action="store_true", help="print the result as JSON")
