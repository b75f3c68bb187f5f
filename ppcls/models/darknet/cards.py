"""Cards of DarkNet."""

from ppcls.models.card import ModelCard, read_published

CARDS = (
    ModelCard(
        name="DarkNet53",
        family="DarkNet",
        paper="YOLOv3: An Incremental Improvement",
        arxiv="1804.02767",
        params=41_609_928,
        macs=9_285_115_904,
        checkpoints=read_published(__file__)["DarkNet53"],
        input_size=256,
        resize_short=292,
    ),
)
