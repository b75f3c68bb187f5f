"""Model cards are complete, say what is true, and cost nothing to read."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from typing import get_type_hints

import pydantic
import pytest

import ppcls
from ppcls.errors import WeightsError
from ppcls.models.card import ModelCard, Published, PublishedWeights

CARDS = [ppcls.model_card(name) for name in ppcls.list_models()]
WEIGHTS = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/"


def assert_typed(record: ModelCard | PublishedWeights | Published) -> None:
    for field, kind in get_type_hints(type(record)).items():
        pydantic.TypeAdapter(kind).validate_python(getattr(record, field), strict=True)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_are_typed_and_make_sense(card: ModelCard) -> None:
    assert_typed(card)
    assert re.fullmatch(r"\d{4}\.\d{4,5}", card.arxiv)
    assert card.input_size < card.resize_short
    variants = [checkpoint.variant for checkpoint in card.checkpoints]
    assert variants == sorted(set(variants))
    for checkpoint in card.checkpoints:
        assert_typed(checkpoint)
        assert_typed(checkpoint.published)
        assert 0.5 < checkpoint.top1 < checkpoint.top5 < 1
        assert checkpoint.licence == "Apache-2.0"
    assert all(note.endswith(".") for note in (*card.notes, *card.disagreements()))


def test_cards_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CARDS[0].name = "another"


def test_every_published_figure_is_on_a_card(shared) -> None:
    pages = json.loads((shared / "reference/published.json").read_text())["models"]
    found, family_of = {}, {}
    for card in CARDS:
        for checkpoint in card.checkpoints:
            published = checkpoint.published
            name = "_".join(filter(None, (card.name, checkpoint.variant)))
            family_of[name] = card.family
            found[name] = {
                "input_size": card.input_size,
                **{k: v for k, v in dataclasses.asdict(published).items() if "fp" not in k},
                "latency_ms_v100_tensorrt_fp32": published.v100_fp32,
                "latency_ms_t4_tensorrt_fp16": published.t4_fp16,
                "latency_ms_t4_tensorrt_fp32": published.t4_fp32,
            }
    families = {ppcls.model_card(name.removesuffix("_ssld")).family for name in pages}
    assert set(pages) == {name for name, family in family_of.items() if family in families}
    for name, page in pages.items():
        for key, value in page.items():
            stated = tuple(value[n] for n in ("1", "4", "8")) if isinstance(value, dict) else value
            assert found[name].pop(key) == stated, (name, key)
        # No figure on a card is without a source, but for the side of an image that a page omits.
        assert {k for k, v in found[name].items() if v is not None} <= {"input_size"}


@pytest.mark.parametrize(
    ("name", "variant", "file"),
    [
        ("HarDNet39_ds", "", "HarDNet39_ds_pretrained.pdparams"),
        ("SENet154_vd", "", "SENet154_vd_pretrained.pdparams"),
        ("HRNet_W30_C", "", "legendary_models/HRNet_W30_C_pretrained.pdparams"),
        ("HRNet_W48_C", "ssld", "legendary_models/HRNet_W48_C_ssld_pretrained.pdparams"),
        ("SE_HRNet_W64_C", "ssld", "legendary_models/SE_HRNet_W64_C_ssld_pretrained.pdparams"),
    ],
)
def test_where_the_weights_are(name: str, variant: str, file: str) -> None:
    checkpoint = ppcls.model_card(name).checkpoint(variant)
    assert checkpoint.variant == variant
    assert checkpoint.url == WEIGHTS + file


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("HRNet_W60_C", "", "there are no published weights for HRNet_W60_C; `ppcls list` shows"),
        ("HRNet_W60_C", "ssld", "there are no published weights for HRNet_W60_C"),
        ("DPN68", "ssld", "there are no 'ssld' weights for DPN68; it has: published"),
        ("HRNet_W18_C", "sld", "no 'sld' weights for HRNet_W18_C; it has: published, ssld"),
        ("SE_HRNet_W64_C", "", "no plain published weights for SE_HRNet_W64_C; it has: ssld"),
    ],
)
def test_absent_weights_are_said_to_be(name: str, variant: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        ppcls.model_card(name).checkpoint(variant)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HarDNet85", []),
        ("HRNet_W60_C", []),
        (
            "DarkNet53",
            [
                "The published 18.58 GFLOPs count a multiply-accumulate as two operations; "
                "measured that way: 18.57."
            ],
        ),
        # Two checkpoints, one network: said once.
        (
            "HRNet_W18_C",
            [
                "The published 4.14 GFLOPs count a multiply-accumulate as one operation; measured "
                "that way: 4.28 (the published figure is 3.4% lower)."
            ],
        ),
        (
            "DPN68",
            [
                "The published 4.03 GFLOPs count a multiply-accumulate as two operations; measured "
                "that way: 4.65 (the published figure is 13.4% lower).",
                "The published count of parameters is 10.78 M; measured: 12.61 M (the published "
                "figure is 14.5% lower).",
            ],
        ),
    ],
)
def test_disagreements_are_said(name: str, expected: list[str]) -> None:
    assert ppcls.model_card(name).disagreements() == expected


@pytest.mark.process
@pytest.mark.parametrize(
    "use",
    [
        "ppcls.model_card('DPN68').disagreements()",
        "main(['list'])",
        "main(['list', '--json'])",
        "main(['info', 'HRNet_W18_C'])",
        "main(['info', 'HRNet_W18_C', '--json'])",
    ],
)
def test_reading_cards_needs_neither_paddle_nor_models(use: str) -> None:
    code = (
        f"import sys, ppcls\nfrom ppcls.cli import main\n{use}\n"
        "print([m for m in ('paddle', 'numpy', 'ppcls.models.registry') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.splitlines()[-1] == "[]", out.stderr
