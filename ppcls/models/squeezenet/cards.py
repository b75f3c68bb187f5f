"""Cards of SqueezeNet."""

from ppcls.models.card import ModelCard, Published, published_weights

_DROPOUT = (
    "The published weights expect evaluation to halve the input of the last convolution, as this "
    "model does; for weights trained elsewhere, double the weight of that convolution."
)


def _card(name: str, *, params: int, macs: int, published: Published) -> ModelCard:
    return ModelCard(
        name=name,
        family="SqueezeNet",
        paper="SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
        arxiv="1602.07360",
        params=params,
        macs=macs,
        checkpoints=(published_weights(name, published),),
        dropout=0.5,
        notes=(_DROPOUT,),
    )


CARDS = (
    _card(
        "SqueezeNet1_0",
        params=1_248_424,
        macs=777_221_152,
        published=Published(
            top1=0.596,
            top5=0.817,
            reference_top1=0.575,
            flops_g=1.55,
            params_m=1.24,
            v100_fp32=(0.68, 1.64, 2.62),
            t4_fp16=(0.97162, 2.06719, 3.67499),
            t4_fp32=(0.96736, 2.53221, 4.54047),
        ),
    ),
    _card(
        "SqueezeNet1_1",
        params=1_235_496,
        macs=349_537_280,
        published=Published(
            top1=0.601,
            top5=0.819,
            flops_g=0.69,
            params_m=1.23,
            v100_fp32=(0.62, 1.3, 2.09),
            t4_fp16=(0.81378, 1.62919, 2.68044),
            t4_fp32=(0.76032, 1.877, 3.15298),
        ),
    ),
)
