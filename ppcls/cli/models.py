"""`ppcls list` and `ppcls info`: the model cards as text."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Iterator

from ppcls.cli.options import Commands
from ppcls.errors import ConfigError
from ppcls.models.card import LATENCY_BATCHES, Latency, ModelCard, Published, PublishedWeights
from ppcls.models.catalogue import list_models, model_card
from ppcls.printable import printable
from ppcls.spelling import did_you_mean

_LATENCIES = (
    ("v100_fp32", "V100, FP32"),
    ("t4_fp16", "T4, FP16"),
    ("t4_fp32", "T4, FP32"),
)


def _table(cards: Iterable[ModelCard]) -> str:
    """Return a header and one line for each card: measured size, published accuracy, checkpoints.

    The accuracies are those of the published weights without distillation.
    """
    lines = [
        f"{'name':18}{'params':>9}{'MACs':>9}{'input':>7}{'top-1':>8}{'top-5':>8}  checkpoints"
    ]
    for card in cards:
        page = card.published
        top1, top5 = (page.top1, page.top5) if page else (None, None)
        lines.append(
            f"{printable(card.name):18}{_scaled(card.params, 1e6, 'M')}"
            f"{_scaled(card.macs, 1e9, 'G')}{card.input_size:7}"
            f"{_share(top1):>8}{_share(top5):>8}  "
            + (printable(", ".join(c.label for c in card.checkpoints)) or "-")
        )
    return "\n".join(lines)


def _describe(card: ModelCard) -> str:
    """Return the whole card as text."""
    lines = [card.name, *_facts(card), *_checkpoints(card), *_remarks(card)]
    return "\n".join(map(printable, lines))


def _facts(card: ModelCard) -> Iterator[str]:
    channels = (" ".join(f"{v:g}" for v in values) for values in (card.mean, card.std))
    side = card.input_size
    yield f"  family         {card.family}"
    if card.paper:
        yield f"  paper          {card.paper}"
    if card.arxiv:
        yield f"                 https://arxiv.org/abs/{card.arxiv}"
    if card.params is not None:
        yield f"  measured       {card.params:,} parameters"
    if card.macs is not None:
        yield f"                 {card.macs:,} multiply-accumulates for {side}x{side} pixels"
    yield (
        f"  evaluation     short side to {card.resize_short} ({card.interpolation}), centre crop "
        f"of {side}"
    )
    yield "                 RGB / 255, mean {}, std {}".format(*channels)
    if card.dropout is not None:
        yield f"  dropout        {card.dropout:g}"


def _checkpoints(card: ModelCard) -> Iterator[str]:
    if not card.checkpoints:
        yield "  checkpoints    none published"
    for checkpoint in card.checkpoints:
        yield ""
        yield from _checkpoint(checkpoint)


def _checkpoint(checkpoint: PublishedWeights) -> Iterator[str]:
    page = checkpoint.published
    yield f"checkpoint {checkpoint.label}, {checkpoint.licence}"
    yield f"  url            {checkpoint.url}"
    yield f"  accuracy       top-1 {_share(page.top1)}, top-5 {_share(page.top5)}"
    if page.reference_top1 is not None or page.reference_top5 is not None:
        yield (
            f"  in the paper   top-1 {_share(page.reference_top1)}, "
            f"top-5 {_share(page.reference_top5)}"
        )
    yield f"  as published   {page.params_m:g} M parameters, {page.flops_g:g} GFLOPs"
    rows = list(_latencies(page))
    if rows:
        columns = "".join(f"{batch:>9}" for batch in LATENCY_BATCHES)
        yield f"  latency in ms, TensorRT{'batch':>8}{columns}"
        yield from rows


def _latencies(page: Published) -> Iterator[str]:
    for field, device in _LATENCIES:
        values: Latency | None = getattr(page, field)
        if values is not None:
            yield f"    {device:29}" + "".join(f"{value:9.2f}" for value in values)


def _remarks(card: ModelCard) -> Iterator[str]:
    remarks = [*card.disagreements(), *card.notes]
    if remarks:
        yield ""
        yield "notes"
    for remark in remarks:
        yield from textwrap.wrap(remark, 100, initial_indent="  ", subsequent_indent="    ")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _scaled(count: int | None, unit: float, letter: str) -> str:
    return f"{'-':>9}" if count is None else f"{count / unit:8.2f}{letter}"


def _list(args: argparse.Namespace) -> int:
    # A word without wildcards matches any part of a name, as in `ppcls list hardnet`.
    pattern = args.pattern if set(args.pattern) & set("*?[") else f"*{args.pattern}*"
    cards = [model_card(name) for name in list_models(pattern)]
    if args.json:
        print(json.dumps([card.to_dict() for card in cards], indent=2))
        return 0
    if not cards:
        hint = did_you_mean(args.pattern, list_models()) or "; `ppcls list` prints all"
        raise ConfigError(f"no architecture matches {args.pattern!r}{hint}")
    print(_table(cards))
    return 0


def _info(args: argparse.Namespace) -> int:
    card = model_card(args.name)
    print(json.dumps(card.to_dict(), indent=2) if args.json else _describe(card))
    return 0


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
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
        "print the model card of an architecture",
        """
        ppcls info HRNet_W48_C
        ppcls info DPN68 --json
        """,
    )
    info.add_argument("name", metavar="NAME", help="as `ppcls list` prints it")
    info.add_argument("--json", action="store_true", help="print a JSON object")
