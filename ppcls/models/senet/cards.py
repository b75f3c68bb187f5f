"""Cards of SENet."""

from ppcls.models.card import ModelCard, Published, published_weights

_PUBLISHED = Published(
    top1=0.814,
    top5=0.955,
    flops_g=45.83,
    params_m=114.29,
    v100_fp32=(34.83, 51.22, 69.74),
    t4_fp16=(49.85733, 54.37267, 74.70447),
    t4_fp32=(53.79794, 66.31684, 121.59885),
)

CARDS = (
    ModelCard(
        name="SENet154_vd",
        family="SENet",
        paper="Squeeze-and-Excitation Networks",
        arxiv="1709.01507",
        params=121_737_048,
        macs=24_339_570_688,
        checkpoints=(published_weights("SENet154_vd", _PUBLISHED),),
    ),
)
