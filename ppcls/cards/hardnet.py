"""Cards of HarDNet."""

from functools import partial

from ppcls.cards.card import ModelCard

_card = partial(
    ModelCard,
    family="HarDNet",
    paper="HarDNet: A Low Memory Traffic Network",
    arxiv="1909.00948",
)

CARDS = (
    _card(
        name="HarDNet39_ds",
        params=3_488_228,
        macs=429_471_474,
        published_top1=0.7133,
        published_top5=0.8998,
        dropout=0.05,
    ),
    _card(
        name="HarDNet68_ds",
        params=4_180_602,
        macs=775_281_526,
        published_top1=0.7362,
        published_top5=0.9152,
        dropout=0.05,
    ),
    _card(
        name="HarDNet68",
        params=17_565_348,
        macs=4_246_114_304,
        published_top1=0.7546,
        published_top5=0.9265,
        dropout=0.1,
    ),
    _card(
        name="HarDNet85",
        params=36_670_212,
        macs=9_074_081_584,
        published_top1=0.7744,
        published_top5=0.9355,
        dropout=0.2,
    ),
)
