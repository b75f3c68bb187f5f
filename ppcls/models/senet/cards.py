"""Cards of SENet."""

from ppcls.models.card import ModelCard, read_published

CARDS = (
    ModelCard(
        name="SENet154_vd",
        family="SENet",
        paper="Squeeze-and-Excitation Networks",
        arxiv="1709.01507",
        params=121_737_048,
        macs=24_339_570_688,
        checkpoints=read_published(__file__)["SENet154_vd"],
    ),
)
