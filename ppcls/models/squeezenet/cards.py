"""Cards of SqueezeNet."""

from ppcls.models.card import ModelCard, read_published

_WEIGHTS = read_published(__file__)
_DROPOUT = (
    "The published weights expect evaluation to halve the input of the last convolution, as this "
    "model does; for weights trained elsewhere, double the weight of that convolution."
)

CARDS = tuple(
    ModelCard(
        name=name,
        family="SqueezeNet",
        paper="SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
        arxiv="1602.07360",
        params=params,
        macs=macs,
        checkpoints=_WEIGHTS[name],
        dropout=0.5,
        notes=(_DROPOUT,),
    )
    for name, params, macs in (
        ("SqueezeNet1_0", 1_248_424, 777_221_152),
        ("SqueezeNet1_1", 1_235_496, 349_537_280),
    )
)
