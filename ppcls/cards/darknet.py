"""Cards of DarkNet."""

from ppcls.cards.card import ModelCard

CARDS = (
    ModelCard(
        name="DarkNet53",
        family="DarkNet",
        paper="YOLOv3: An Incremental Improvement",
        arxiv="1804.02767",
        params=41_609_928,
        macs=9_285_115_904,
        published_top1=0.78,
        published_top5=0.941,
        input_size=256,
        resize_short=292,
    ),
)
