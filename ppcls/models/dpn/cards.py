"""Cards of the dual path networks."""

from ppcls.models.card import ModelCard, read_published

_WEIGHTS = read_published(__file__)

CARDS = tuple(
    ModelCard(
        name=name,
        family="DPN",
        paper="Dual Path Networks",
        arxiv="1707.01629",
        params=params,
        macs=macs,
        checkpoints=_WEIGHTS[name],
    )
    for name, params, macs in (
        ("DPN68", 12_611_602, 2_326_163_456),
        ("DPN92", 37_668_392, 6_501_684_224),
        ("DPN98", 61_570_728, 11_671_217_152),
        ("DPN107", 86_917_800, 18_298_764_288),
        ("DPN131", 79_254_504, 16_013_648_896),
    )
)
