"""Cards of the dual path networks."""

from ppcls.models.card import ModelCard, Published, published_weights


def _card(name: str, *, params: int, macs: int, published: Published) -> ModelCard:
    return ModelCard(
        name=name,
        family="DPN",
        paper="Dual Path Networks",
        arxiv="1707.01629",
        params=params,
        macs=macs,
        checkpoints=(published_weights(name, published),),
    )


CARDS = (
    _card(
        "DPN68",
        params=12_611_602,
        macs=2_326_163_456,
        published=Published(
            top1=0.768,
            top5=0.934,
            reference_top1=0.764,
            reference_top5=0.931,
            flops_g=4.03,
            params_m=10.78,
            v100_fp32=(8.18, 11.4, 14.82),
            t4_fp16=(11.7827, 13.12652, 16.19213),
            t4_fp32=(11.64915, 12.82807, 18.57113),
        ),
    ),
    _card(
        "DPN92",
        params=37_668_392,
        macs=6_501_684_224,
        published=Published(
            top1=0.799,
            top5=0.948,
            reference_top1=0.793,
            reference_top5=0.946,
            flops_g=12.54,
            params_m=36.29,
            v100_fp32=(12.48, 20.04, 25.1),
            t4_fp16=(18.56026, 20.35983, 29.89544),
            t4_fp32=(18.15746, 23.87545, 38.68821),
        ),
    ),
    _card(
        "DPN98",
        params=61_570_728,
        macs=11_671_217_152,
        published=Published(
            top1=0.806,
            top5=0.951,
            reference_top1=0.799,
            reference_top5=0.949,
            flops_g=22.22,
            params_m=58.46,
            v100_fp32=(14.7, 25.55, 35.12),
            t4_fp16=(21.70508, 24.7755, 40.93595),
            t4_fp32=(21.18196, 33.23925, 62.77751),
        ),
    ),
    _card(
        "DPN107",
        params=86_917_800,
        macs=18_298_764_288,
        published=Published(
            top1=0.809,
            top5=0.953,
            reference_top1=0.802,
            reference_top5=0.951,
            flops_g=35.06,
            params_m=82.97,
            v100_fp32=(19.46, 35.62, 50.22),
            t4_fp16=(27.84462, 34.83217, 60.67903),
            t4_fp32=(27.62046, 52.65353, 100.11721),
        ),
    ),
    _card(
        "DPN131",
        params=79_254_504,
        macs=16_013_648_896,
        published=Published(
            top1=0.807,
            top5=0.951,
            reference_top1=0.801,
            reference_top5=0.949,
            flops_g=30.51,
            params_m=75.36,
            v100_fp32=(19.64, 34.6, 47.42),
            t4_fp16=(28.58941, 33.01078, 55.65146),
            t4_fp32=(28.33119, 46.19439, 89.24904),
        ),
    ),
)
