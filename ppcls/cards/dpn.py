"""Cards of the dual path networks."""

from ppcls.cards.card import ModelCard

# name: parameters, multiply-accumulates, published top-1 and top-5
_FACTS = {
    "DPN68": (12_611_602, 2_326_163_456, 0.768, 0.934),
    "DPN92": (37_668_392, 6_501_684_224, 0.799, 0.948),
    "DPN98": (61_570_728, 11_671_217_152, 0.806, 0.951),
    "DPN107": (86_917_800, 18_298_764_288, 0.809, 0.953),
    "DPN131": (79_254_504, 16_013_648_896, 0.807, 0.951),
}

CARDS = tuple(
    ModelCard(
        name=name,
        family="DPN",
        paper="Dual Path Networks",
        arxiv="1707.01629",
        params=params,
        macs=macs,
        published_top1=top1,
        published_top5=top5,
    )
    for name, (params, macs, top1, top5) in _FACTS.items()
)
