"""The output of predictions, shared by `ppcls infer` and `ppcls predict`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ppcls.cli.options import png_file
from ppcls.errors import ConfigError, DataError
from ppcls.printable import printable, say

if TYPE_CHECKING:
    from ppcls.data.lists import Label
    from ppcls.inference.inputs import Input, PipedImage
    from ppcls.inference.predictor import Classifier
    from ppcls.inference.results import Result

__all__ = ["add_output_options", "output"]

_GRID_TILES = 48
_CAPTION_LINES = 6


def output(classifier: Classifier, inputs: Sequence[Input], args: argparse.Namespace) -> int:
    """Predict; print, write and draw the results. Return 1 if an image has no prediction.

    Raises:
        ConfigError: an output would replace an input or another output.
        DataError: a list has a label that the model does not know.
    """
    from tqdm import tqdm

    from ppcls.inference.writers import WRITERS

    truths = [_truth(one, classifier) for one in inputs]
    files = {kind: getattr(args, kind) for kind in WRITERS}
    _refuse_overwriting(inputs, args, [*files.values(), args.grid])
    show = _shown(args.format, any(files.values()))
    tally = _Tally(multi_label=classifier.multi_label)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(closing(WRITERS[kind](path)))
            for kind, path in files.items()
            if path
        ]
        # Show a bar only on a terminal.
        bar = stack.enter_context(
            tqdm(total=len(inputs), unit="image", leave=False, disable=not sys.stderr.isatty())
        )
        results = classifier.predict(inputs, timing=args.timing)
        try:
            for one, truth, result in zip(inputs, truths, results, strict=True):
                for writer in writers:
                    writer.write(result)
                if show is not None:
                    tqdm.write(show(result))
                tally.add(one, truth, result, keep=bool(args.grid or args.save_images))
                bar.update()
        except KeyboardInterrupt:
            bar.close()
            print(f"{tally.count} of {len(inputs)} images done", file=sys.stderr)
            for writer in writers:
                say(f"kept     {writer.path}", sys.stderr)
            raise
    return _finish(tally, len(inputs), classifier, args)


def _truth(one: Input, classifier: Classifier) -> list[int] | None:
    """Return the classes that a list states for an image; None without a list.

    Raises:
        DataError: the label does not fit the model.
    """
    label, classes = one.label, len(classifier.labels)
    if label is None:
        return None
    if classifier.multi_label:
        flags = label if isinstance(label, tuple) else (label,)
        if len(flags) != classes or not {0, 1}.issuperset(flags):
            raise DataError(
                f"{one.path!s}: label {_text(label)} in its list, but the multi-label model needs "
                f"0 or 1 for each of its {classes} classes, as in 0,1,0"
            )
        return [i for i, flag in enumerate(flags) if flag]
    if isinstance(label, tuple):
        raise DataError(
            f"{one.path!s}: label {_text(label)} in its list, but the model gives an image one "
            "class"
        )
    if not 0 <= label < classes:
        raise DataError(
            f"{one.path!s}: label {label} in its list, but the model has labels 0..{classes - 1}"
        )
    return [label]


def _text(label: Label) -> str:
    return ",".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _refuse_overwriting(
    inputs: Sequence[Input], args: argparse.Namespace, outputs: Sequence[str | None]
) -> None:
    """Stop before an output would replace an input or another output.

    Raises:
        ConfigError: two outputs are one file, an output is an input or a list of them, or a picture
            would be written into an input folder.
    """
    read = {Path(one.path).resolve() for one in inputs if isinstance(one.path, (str, Path))}
    named = [*args.inputs, *args.list]
    read |= {Path(name).resolve() for name in named if Path(name).is_file()}
    written: set[Path] = set()
    for output in outputs:
        path = Path(output).resolve() if output else None
        if path and path in read | written:
            what = "an input" if path in read else "another output"
            raise ConfigError(f"{output}: is {what}; choose another file to write to")
        written |= {path} if path else set()
    for option, place in (("--grid", args.grid), ("--save-images", args.save_images)):
        for name in args.inputs if place else ():
            source = Path(name).expanduser()
            if source.is_dir() and Path(place).resolve().is_relative_to(source.resolve()):
                raise ConfigError(
                    f"{option} {place}: below the input {name}, where the next prediction would "
                    "read it as an image; choose another place"
                )
    if args.save_images:
        folder = Path(args.save_images).resolve()
        inside = next((path for path in read if path.is_relative_to(folder)), None)
        if inside:
            raise ConfigError(
                f"--save-images {args.save_images}: holds the input {inside.name}, which an output "
                "could replace; choose another folder"
            )


class _Drawn(NamedTuple):
    """A prediction to draw.

    Attributes:
        path: the image.
        truth: the classes that a list states, if any.
        result: the prediction.
        wrong: whether they differ.
    """

    path: Path | str | PipedImage
    truth: list[int] | None
    result: Result
    wrong: bool


class _Tally:
    """Counts of the predictions, and the predictions to draw."""

    def __init__(self, *, multi_label: bool) -> None:
        self.count = self.failed = self.not_finite = self.labelled = self.right = 0
        self.drawn: list[_Drawn] = []
        self._multi_label = multi_label

    def add(self, one: Input, truth: list[int] | None, result: Result, keep: bool) -> None:
        """Count a result; `keep` it for drawing."""
        from ppcls.inference.results import NOT_FINITE

        self.count += 1
        if result.error is not None:
            self.failed += 1
            self.not_finite += result.error == NOT_FINITE
            return
        found = sorted(result.class_ids) if self._multi_label else result.class_ids[:1]
        wrong = truth is not None and found != truth
        if truth is not None:
            self.labelled += 1
            self.right += not wrong
        if keep:
            self.drawn.append(_Drawn(one.path, truth, result, wrong))


def _finish(tally: _Tally, count: int, classifier: Classifier, args: argparse.Namespace) -> int:
    from ppcls.inference.results import NOT_FINITE

    if tally.labelled:
        what, match = "top-1", "match the label of their list"
        if classifier.multi_label:
            what, match = "exact match", "have exactly the classes of their list"
        print(
            f"{what} {tally.right / tally.labelled:.5f}: {tally.right} of {tally.labelled} images "
            + match,
            file=sys.stderr,
        )
    if args.grid and tally.drawn:
        _draw(tally.drawn, classifier.labels, args, multi_label=classifier.multi_label)
        print(f"picture  {args.grid}", file=sys.stderr)
    if args.save_images and tally.drawn:
        from ppcls.pictures.annotate import save_annotated

        named = [*args.inputs, *args.list]
        root = Path(named[0]).expanduser() if len(named) == 1 else None
        save_annotated(
            [(one.path, one.result) for one in tally.drawn],
            Path(args.save_images),
            root if root and root.is_dir() else None,
            allow_url=args.allow_url,
        )
        print(f"pictures {args.save_images}", file=sys.stderr)
    if unread := tally.failed - tally.not_finite:
        print(f"{unread} of {count} images could not be read", file=sys.stderr)
    if tally.not_finite:
        print(f"{tally.not_finite} of {count} images: {NOT_FINITE}", file=sys.stderr)
    return 1 if tally.failed else 0


def _shown(format_: str, has_files: bool) -> Callable[[Result], str] | None:
    """Return the function that formats a result as a line; None to print nothing."""
    if format_ == "auto":
        if has_files:
            return None
        format_ = "table" if sys.stdout.isatty() else "jsonl"
    if format_ == "table":
        return _row
    return lambda result: json.dumps(result.to_dict(), ensure_ascii=False)


def _row(result: Result) -> str:
    if result.error is not None:
        return printable(f"{result.source}  error: {result.error}")
    answers = zip(result.label_names, result.scores, strict=True)
    shown = [f"{name} {score:.3f}" for name, score in answers] or ["nothing above the threshold"]
    return printable(f"{result.source}  " + "  ".join(shown))


def _draw(
    results: Sequence[_Drawn], labels: Sequence[str], args: argparse.Namespace, *, multi_label: bool
) -> None:
    """Draw mistakes first, up to half of the tiles, then results spread over the inputs."""
    from ppcls.data import image
    from ppcls.pictures.tiles import Tile, tile_grid

    wrong = [one for one in results if one.wrong][: _GRID_TILES // 2]
    others = [one for one in results if not one.wrong]
    others = others[:: max(1, -(-len(others) // (_GRID_TILES - len(wrong))))]
    tiles = []
    for one in wrong + others:
        caption = _caption(one, labels, multi_label=multi_label)
        picture = image.read_to_show(one.path, allow_url=args.allow_url)
        tiles.append(Tile(picture, caption, one.wrong))
    tile_grid(tiles, args.grid)


def _caption(one: _Drawn, labels: Sequence[str], *, multi_label: bool) -> str:
    from ppcls.pictures.figures import shorten

    answers = list(zip(one.result.label_names, one.result.scores, strict=True))
    truth = [labels[i] for i in one.truth or ()]
    if not multi_label:
        best = [f"{name} {score:.2f}" for name, score in answers[:1]] or ["below the threshold"]
        return best[0] + (f" (is {truth[0]})" if one.wrong else "")
    # A line each, because several names do not fit beside each other.
    lines = [f"{shorten(name, 17)} {score:.2f}" for name, score in answers] or ["none"]
    lines += [f"is {shorten(name, 19)}" for name in truth or ["none"]] if one.wrong else []
    if len(lines) > _CAPTION_LINES:
        lines[_CAPTION_LINES - 1 :] = ["…"]
    return "\n".join(lines)


def add_output_options(command: argparse.ArgumentParser) -> None:
    """Add the options for the output of predictions."""
    command.add_argument(
        "--format",
        choices=("auto", "table", "jsonl"),
        default="auto",
        help="the printed format: auto is a table on a terminal, otherwise one JSON object a line, "
        "or nothing if a file is named",
    )
    command.add_argument(
        "--json", metavar="FILE", help="write a JSON list, valid after the last image"
    )
    command.add_argument(
        "--jsonl", metavar="FILE", help="write one JSON object a line; complete after every image"
    )
    command.add_argument("--csv", metavar="FILE", help="write a table; complete after every image")
    command.add_argument(
        "--save-images",
        metavar="DIR",
        help="write every image with its classes below, in the sub-folders of a single INPUT",
    )
    command.add_argument(
        "--timing", action="store_true", help="add the time of each image to the records"
    )
    command.add_argument(
        "--grid", type=png_file, metavar="FILE.png", help="draw images with their best classes"
    )
