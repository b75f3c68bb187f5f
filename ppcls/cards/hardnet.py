"""Cards of HarDNet."""

from ppcls.cards.card import ModelCard

CARDS = (
    ModelCard(
        name="HarDNet39_ds",
        family="HarDNet",
        paper="HarDNet: A Low Memory Traffic Network",
        arxiv="1909.00948",
        params=3_488_228,
        macs=429_471_474,
        published_top1=0.7133,
        published_top5=0.8998,
        dropout=0.05,
    ),
)
