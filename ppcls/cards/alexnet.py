"""Cards of AlexNet."""

from ppcls.cards.card import ModelCard

CARDS = (
    ModelCard(
        name="AlexNet",
        family="AlexNet",
        paper="One weird trick for parallelizing convolutional neural networks",
        arxiv="1404.5997",
        params=61_100_840,
        macs=714_188_480,
        published_top1=0.567,
        published_top5=0.792,
        dropout=0.5,
    ),
)
