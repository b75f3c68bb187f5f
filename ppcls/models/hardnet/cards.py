"""Cards of HarDNet."""

from ppcls.models.card import ModelCard, read_published

_WEIGHTS = read_published(__file__)
_NOTES = {
    "HarDNet68": (
        "The 2.0-era reproduction reached top-1/top-5 errors of 24.122/7.282%, against a top-1 "
        "error of 23.8% in the paper.",
    )
}

CARDS = tuple(
    ModelCard(
        name=name,
        family="HarDNet",
        paper="HarDNet: A Low Memory Traffic Network",
        arxiv="1909.00948",
        params=params,
        macs=macs,
        checkpoints=_WEIGHTS[name],
        dropout=dropout,
        notes=_NOTES.get(name, ()),
    )
    for name, params, macs, dropout in (
        ("HarDNet39_ds", 3_488_228, 429_471_474, 0.05),
        ("HarDNet68_ds", 4_180_602, 775_281_526, 0.05),
        ("HarDNet68", 17_565_348, 4_246_114_304, 0.1),
        ("HarDNet85", 36_670_212, 9_074_081_584, 0.2),
    )
)
