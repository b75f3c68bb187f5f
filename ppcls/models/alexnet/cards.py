"""Cards of AlexNet."""

from ppcls.models.card import ModelCard, read_published

CARDS = (
    ModelCard(
        name="AlexNet",
        family="AlexNet",
        paper="One weird trick for parallelizing convolutional neural networks",
        arxiv="1404.5997",
        params=61_100_840,
        macs=714_188_480,
        checkpoints=read_published(__file__)["AlexNet"],
        dropout=0.5,
    ),
)
