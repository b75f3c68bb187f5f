"""Cards of SqueezeNet."""

from ppcls.cards.card import ModelCard

CARDS = (
    ModelCard(
        name="SqueezeNet1_1",
        family="SqueezeNet",
        paper=(
            "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size"
        ),
        arxiv="1602.07360",
        params=1_235_496,
        macs=349_537_280,
        published_top1=0.601,
        published_top5=0.819,
        dropout=0.5,
    ),
)
