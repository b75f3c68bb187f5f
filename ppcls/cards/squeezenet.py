"""Cards of SqueezeNet."""

from functools import partial

from ppcls.cards.card import ModelCard

_card = partial(
    ModelCard,
    family="SqueezeNet",
    paper="SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    arxiv="1602.07360",
)

CARDS = (
    _card(
        name="SqueezeNet1_0",
        params=1_248_424,
        macs=777_221_152,
        published_top1=0.596,
        published_top5=0.817,
        dropout=0.5,
    ),
    _card(
        name="SqueezeNet1_1",
        params=1_235_496,
        macs=349_537_280,
        published_top1=0.601,
        published_top5=0.819,
        dropout=0.5,
    ),
)
