"""Cards of SENet."""

from ppcls.cards.card import ModelCard

CARDS = (
    ModelCard(
        name="SENet154_vd",
        family="SENet",
        paper="Squeeze-and-Excitation Networks",
        arxiv="1709.01507",
        params=121_737_048,
        macs=24_339_570_688,
        published_top1=0.814,
        published_top5=0.955,
    ),
)
