"""The output of predictions, shared by `ppcls infer` and `ppcls predict`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from ppcls.cli.options import png_file
from ppcls.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ppcls.inference.inputs import Input
    from ppcls.inference.predictor import Classifier
    from ppcls.inference.results import Result

__all__ = ["add_output_options", "output"]

_GRID_TILES = 48


def output(classifier: Classifier, inputs: Sequence[Input], args: argparse.Namespace) -> int:
    """Predict; print, write and draw the results. Return 1 if an image could not be read.

    Raises:
        ConfigError: an output would replace an input or another output.
        DataError: a list has a label that the model does not know.
    """
    from tqdm import tqdm

    from ppcls.inference.writers import WRITERS

    for one in inputs:
        if one.label is not None and not 0 <= one.label < len(classifier.labels):
            raise DataError(
                f"{one.path}: label {one.label} in its list, but the model has labels "
                f"0..{len(classifier.labels) - 1}"
            )
    files = {kind: getattr(args, kind) for kind in WRITERS}
    _refuse_overwriting(inputs, args, [*files.values(), args.grid])
    show = _shown(args.format, any(files.values()))
    tally = _Tally()
    sources = [one.path for one in inputs]
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
        results = classifier.predict(sources, timing=args.timing)
        try:
            for one, result in zip(inputs, results, strict=True):
                for writer in writers:
                    writer.write(result)
                if show is not None:
                    tqdm.write(show(result))
                tally.add(one, result, keep=bool(args.grid or args.save_images))
                bar.update()
        except KeyboardInterrupt:
            bar.close()
            print(f"{tally.count} of {len(inputs)} images done", file=sys.stderr)
            for writer in writers:
                print(f"kept     {writer.path}", file=sys.stderr)
            raise
    return _finish(tally, len(inputs), classifier, args)


def _refuse_overwriting(
    inputs: Sequence[Input], args: argparse.Namespace, outputs: Sequence[str | None]
) -> None:
    """Stop before an output would replace an input or another output.

    Raises:
        ConfigError: two outputs are one file, or an output is an input or a list of them.
    """
    read = {Path(one.path).resolve() for one in inputs if isinstance(one.path, (str, Path))}
    read |= {Path(name).resolve() for name in args.inputs if Path(name).is_file()}
    written: set[Path] = set()
    for output in outputs:
        path = Path(output).resolve() if output else None
        if path and path in read | written:
            what = "an input" if path in read else "another output"
            raise ConfigError(f"{output}: is {what}; choose another file to write to")
        written |= {path} if path else set()
    if args.save_images:
        folder = Path(args.save_images).resolve()
        inside = next((path for path in read if path.is_relative_to(folder)), None)
        if inside:
            raise ConfigError(
                f"--save-images {args.save_images}: holds the input {inside.name}, which an output "
                "could replace; choose another folder"
            )


class _Tally:
    """Counts of the predictions, and the predictions to draw."""

    def __init__(self) -> None:
        self.count = self.failed = self.labelled = self.right = 0
        self.drawn: list[tuple[Input, Result]] = []

    def add(self, one: Input, result: Result, keep: bool) -> None:
        """Count a result; `keep` it for drawing."""
        self.count += 1
        if result.error is not None:
            self.failed += 1
            return
        if one.label is not None:
            self.labelled += 1
            self.right += result.class_ids[:1] == [one.label]
        if keep:
            self.drawn.append((one, result))


def _finish(tally: _Tally, count: int, classifier: Classifier, args: argparse.Namespace) -> int:
    if tally.labelled:
        print(
            f"top-1 {tally.right / tally.labelled:.5f}: {tally.right} of {tally.labelled} images "
            "match the label of their list",
            file=sys.stderr,
        )
    if args.grid and any(result.class_ids for _, result in tally.drawn):
        _draw(tally.drawn, classifier.labels, args.grid)
        print(f"picture  {args.grid}", file=sys.stderr)
    if args.save_images and tally.drawn:
        from ppcls.pictures.annotate import save_annotated

        root = Path(args.inputs[0]).expanduser()
        save_annotated(
            [(one.path, result) for one, result in tally.drawn],
            Path(args.save_images),
            root if len(args.inputs) == 1 and root.is_dir() else None,
        )
        print(f"pictures {args.save_images}", file=sys.stderr)
    if tally.failed:
        print(f"{tally.failed} of {count} images could not be read", file=sys.stderr)
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
        return f"{result.source}  error: {result.error}"
    answers = zip(result.label_names, result.scores, strict=True)
    return f"{result.source}  " + "  ".join(f"{name} {score:.3f}" for name, score in answers)


def _draw(results: Sequence[tuple[Input, Result]], labels: Sequence[str], picture: str) -> None:
    """Draw mistakes first, up to half of the tiles, then results spread over the inputs."""
    from ppcls.data import image
    from ppcls.pictures.tiles import Tile, tile_grid

    named = [a for a in results if a[1].class_ids]
    wrong = [a for a in named if a[0].label not in (None, a[1].class_ids[0])]
    wrong = wrong[: _GRID_TILES // 2]
    others = [a for a in named if a[0].label in (None, a[1].class_ids[0])]
    others = others[:: max(1, -(-len(others) // (_GRID_TILES - len(wrong))))]
    tiles = []
    for one, result in wrong + others:
        caption = f"{result.label_names[0]} {result.scores[0]:.2f}"
        if one.label not in (None, result.class_ids[0]):
            caption += f" (is {labels[one.label]})"
        tiles.append(Tile(image.read_to_show(one.path), caption, (one, result) in wrong))
    tile_grid(tiles, picture)


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
