"""Write the model pages and their pictures: `make docs-models`.

Everything on them is on the model cards, in families.yaml and *.md beside this file, or in
docs/models/measured, which holds what `ppcls benchmark NAME --device cpu --json` printed. A family
needs only its text in families.yaml: without a diagram, measurements or published weights its page
leaves out what shows them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from diagrams import DIAGRAMS
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ppcls.benchmark.pictures import latency_scatter
from ppcls.benchmark.results import Row
from ppcls.models.card import Latency, ModelCard
from ppcls.models.catalogue import list_models, model_card

HERE = Path(__file__).resolve().parent
PAGES = HERE.parent / "models"
LANGUAGES = ("en", "zh")

_HEADS = {
    "en": {
        "accuracy": "architecture | weights | top-1 | top-5",
        "size": "architecture | FLOPs (G) | MACs (G), measured | params (M) | params (M), measured",
        "gpu": "architecture | V100, FP32 | T4, FP16 | T4, FP32",
        "cpu": "architecture | backend | batch 1 | batch 4 | batch 8",
        "input": "Input images have {} × {} pixels.",
        "remarks": "Discrepancies and other notes:",
        "nothing": "none",
        "machine": "{cpu}, {cores} cores",
        "index": "family | architectures | top-1",
    },
    "zh": {
        "accuracy": "模型 | 权重 | top-1 | top-5",
        "size": "模型 | FLOPs (G) | MACs (G)，测量值 | 参数量 (M) | 参数量 (M)，测量值",
        "gpu": "模型 | V100，FP32 | T4，FP16 | T4，FP32",
        "cpu": "模型 | 后端 | 批大小 1 | 批大小 4 | 批大小 8",
        "input": "输入图片为 {} × {} 像素。",
        "remarks": "不一致之处与其他说明（摘自模型卡，英文）：",
        "nothing": "无",
        "machine": "{cpu}，{cores} 核",
        "index": "系列 | 模型 | top-1",
    },
}


def _table(heads: str, rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {heads} |", "|" + "---|" * (heads.count("|") + 1)]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def _with_papers(own: float, papers: float | None) -> str:
    return f"{own:.2%}" + ("" if papers is None else f" ({papers:.2%})")


def _accuracy_rows(cards: list[ModelCard]) -> Iterator[list[str]]:
    for card in cards:
        for checkpoint in card.checkpoints:
            page = checkpoint.published
            yield [
                card.name,
                f"[{checkpoint.label}]({checkpoint.url})",
                _with_papers(page.top1, page.reference_top1),
                _with_papers(page.top5, page.reference_top5),
            ]


def _published(figures: Iterable[float]) -> str:
    return " / ".join(dict.fromkeys(f"{figure:g}" for figure in figures)) or "–"


def _size_rows(cards: list[ModelCard]) -> Iterator[list[str]]:
    for card in cards:
        published = [checkpoint.published for checkpoint in card.checkpoints]
        yield [
            card.name,
            _published(page.flops_g for page in published),
            f"{card.macs / 1e9:.2f}",
            _published(page.params_m for page in published),
            f"{card.params / 1e6:.2f}",
        ]


def _times(latency: Latency | None) -> str:
    return "–" if latency is None else " / ".join(f"{value:.2f}" for value in latency)


def _gpu_rows(cards: list[ModelCard]) -> Iterator[list[str]]:
    for card in cards:
        for checkpoint in card.checkpoints:
            page = checkpoint.published
            name = f"{card.name} ({checkpoint.variant})" if checkpoint.variant else card.name
            yield [name, *map(_times, (page.v100_fp32, page.t4_fp16, page.t4_fp32))]


def measurements() -> dict[str, dict[str, Any]]:
    """Return what `ppcls benchmark` has measured, by architecture."""
    files = sorted((PAGES / "measured").glob("*.json"))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def _cpu_rows(found: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    for measured in found:
        by_engine: dict[tuple[str, str], dict[int, str]] = {}
        for row in measured["rows"]:
            key = row["model"], f"{row['backend']} {row['version']}"
            text = f"{row['median_ms']:.1f} ({row['p95_ms']:.1f})"
            by_engine.setdefault(key, {})[row["batch_size"]] = text
        for key, times in by_engine.items():
            yield [*key, *(times.get(size, "–") for size in (1, 4, 8))]


def _machines(found: Iterable[dict[str, Any]], text: str) -> str:
    return "; ".join(dict.fromkeys(text.format(**measured["machine"]) for measured in found))


def _remarks(cards: list[ModelCard], heading: str) -> str:
    said: dict[str, list[str]] = {}
    for card in cards:
        for sentence in (*card.disagreements(), *card.notes):
            said.setdefault(sentence, []).append(card.name)
    if not said:
        return ""
    lines = [f"- {', '.join(names)}: {sentence}" for sentence, names in said.items()]
    return "\n".join([heading, "", *lines, ""])


def families() -> dict[str, list[ModelCard]]:
    """Return the cards of each family."""
    found: dict[str, list[ModelCard]] = {}
    for card in map(model_card, list_models()):
        found.setdefault(card.family, []).append(card)
    return found


def _words(family: str) -> dict[str, Any]:
    words = yaml.safe_load((HERE / "families.yaml").read_text("utf-8"))
    if family not in words:
        raise SystemExit(f"docs/model_pages/families.yaml has no text on {family}")
    return words[family]


def has_weights(family: str) -> bool:
    """Whether weights of an architecture of a family are published."""
    return any(card.published for card in families()[family])


def shown(family: str) -> ModelCard:
    """Return the card of the architecture that the commands of a family's page are about.

    It is the one that computes least, of those with published weights if there are some.
    """
    return min(families()[family], key=lambda card: (not card.published, card.macs))


_BLOCK = re.compile(r"<!-- if (no )?(\w+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def _template(language: str, there: dict[str, bool]) -> str:
    """Return the template of a page with those of its blocks that hold for what there is."""
    text = (HERE / f"page.{language}.md").read_text("utf-8")
    return _BLOCK.sub(lambda found: found[3] if there[found[2]] != bool(found[1]) else "", text)


def _suffix(language: str) -> str:
    return ".md" if language == "en" else f".{language}.md"


def _index_rows() -> Iterator[list[str]]:
    for family, cards in families().items():
        top1 = sorted(checkpoint.top1 for card in cards for checkpoint in card.checkpoints)
        span = dict.fromkeys(f"{value:.1%}" for value in (top1[:1] + top1[-1:]))
        names = ", ".join(card.name for card in cards)
        yield [f"[{family}]({family}.md)", names, " – ".join(span) or "–"]


def pages() -> dict[str, str]:
    """Return the text of every page and every drawing, by path below docs/models."""
    measured = measurements()
    written = {
        f"index{_suffix(language)}": (HERE / f"index.{language}.md")
        .read_text("utf-8")
        .format(index=_table(_HEADS[language]["index"], _index_rows()))
        for language in LANGUAGES
    }
    for family, cards in families().items():
        words = _words(family)
        if family in DIAGRAMS:
            written[f"images/{family}.svg"] = DIAGRAMS[family]().svg()
        own = [measured[card.name] for card in cards if card.name in measured]
        missing = [card.name for card in cards if card.name not in measured]
        there = {
            "diagram": family in DIAGRAMS,
            "measurements": bool(own),
            "weights": has_weights(family),
        }
        for language in LANGUAGES:
            heads = _HEADS[language]
            written[f"{family}{_suffix(language)}"] = _template(language, there).format(
                family=family,
                shown=shown(family).name,
                intro=words[language],
                caption=words["caption"][language] if family in DIAGRAMS else "",
                paper=cards[0].paper,
                paper_url=f"https://arxiv.org/abs/{cards[0].arxiv}",
                accuracy=_table(heads["accuracy"], _accuracy_rows(cards)),
                size=_table(heads["size"], _size_rows(cards)),
                input_size=heads["input"].format(*[cards[0].input_size] * 2),
                remarks=_remarks(cards, heads["remarks"]),
                gpu=_table(heads["gpu"], _gpu_rows(cards)),
                cpu=_table(heads["cpu"], _cpu_rows(own)),
                machine=_machines(own, heads["machine"]),
                not_measured=", ".join(missing) or heads["nothing"],
            )
    return written


def _points() -> list[dict[str, Any]]:
    """Return what the scatter pictures show, one point for each set of published weights."""
    measured = measurements()
    points = []
    for card in map(model_card, list_models()):
        rows = measured.get(card.name, {"rows": []})["rows"]
        cpu = [r["median_ms"] for r in rows if r["backend"] == "paddle" and r["batch_size"] == 1]
        for checkpoint in card.checkpoints:
            page = checkpoint.published
            points.append(
                {
                    "family": card.family,
                    "name": card.name + (f" {checkpoint.variant}" if checkpoint.variant else ""),
                    "top1": 100 * page.top1,
                    "macs": card.macs / 1e9,
                    "params": card.params / 1e6,
                    "v100": page.v100_fp32[0] if page.v100_fp32 else None,
                    "cpu": cpu[0] if cpu else None,
                }
            )
    return points


_AXES = {
    "macs": "multiply-accumulates (G)",
    "params": "parameters (M)",
    "v100": "V100, TensorRT FP32, batch 1 (ms), published",
    "cpu": "CPU, Paddle FP32, batch 1 (ms), measured",
}


def scatter_digest(family: str) -> str:
    """Return what tells whether the scatter picture of a family is of today's figures."""
    return hashlib.sha256(json.dumps([family, _points()]).encode()).hexdigest()


def draw_scatter(family: str, picture: Path) -> None:
    """Draw published top-1 accuracy against cost: the family's weights among all others'."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(12, 8.4), layout="constrained")
    points = _points()
    names = [p["name"] for p in points if p["family"] == family]
    panels = figure.subplots(2, 2)
    for axes, (key, label) in zip(panels.flat, _AXES.items(), strict=True):
        for p in (p for p in points if p[key] is not None):
            look: dict[str, Any] = {"color": "lightgray", "s": 25}
            if p["family"] == family:
                i = names.index(p["name"])
                marker = "osD^v"[i % 5]
                look = {"color": f"C{i % 10}", "s": 60, "marker": marker, "label": p["name"]}
            axes.scatter(p[key], p["top1"], zorder=2 + (p["family"] == family), **look)
        axes.set(xscale="log", xlabel=label, ylabel="top-1 (%), published")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
    # The first panel has every point: all weights have a size.
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper")
    figure.suptitle(f"{family} among the other families (gray)")
    figure.savefig(
        picture, dpi=80, metadata={"Description": scatter_digest(family), "Software": None}
    )


def scatter_pictures() -> dict[str, Path]:
    """Return the scatter picture of each family that has points in it."""
    return {
        family: PAGES / "images" / f"{family}_scatter.png"
        for family in families()
        if has_weights(family)
    }


def latency_pictures() -> list[Path]:
    """Return the pictures of all latencies."""
    return [PAGES / "images" / f"latency_{key}.png" for key in ("flops", "params")]


def is_current(picture: Path, digest: str) -> bool:
    """Whether a picture is of the figures that the digest tells of."""
    return picture.is_file() and Image.open(picture).text.get("Description") == digest


def latency_rows() -> list[Row]:
    """Return what was measured with Paddle Inference, one image at a time."""
    rows = [Row(**row) for found in measurements().values() for row in found["rows"]]
    return [row for row in rows if row.backend == "paddle" and row.batch_size == 1]


def latency_digest() -> str:
    """Return what tells whether the pictures of all latencies are of today's measurements."""
    return hashlib.sha256(json.dumps([asdict(row) for row in latency_rows()]).encode()).hexdigest()


def draw_latencies() -> None:
    """Draw the pictures of `ppcls benchmark` for all architectures that have been measured."""
    columns = (("flops_g", "FLOPs (G)"), ("params_m", "parameters (M)"))
    for picture, (key, label) in zip(latency_pictures(), columns, strict=True):
        latency_scatter(latency_rows(), key, label, picture)
        text = PngInfo()
        text.add_text("Description", latency_digest())
        Image.open(picture).save(picture, pnginfo=text)


def main() -> None:
    """Write all pages, and the pictures of which the figures have changed."""
    for path, text in pages().items():
        (PAGES / path).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / path).write_text(text, encoding="utf-8")
    for family, picture in scatter_pictures().items():
        if not is_current(picture, scatter_digest(family)):
            draw_scatter(family, picture)
    if not all(is_current(picture, latency_digest()) for picture in latency_pictures()):
        draw_latencies()
    print(f"{len(pages())} pages and drawings in {PAGES}")


if __name__ == "__main__":
    main()
