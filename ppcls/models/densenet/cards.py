"""Cards of DenseNet."""

from ppcls.models.card import ModelCard, Published, published_weights


def _card(name: str, *, params: int, macs: int, published: Published) -> ModelCard:
    return ModelCard(
        name=name,
        family="DenseNet",
        paper="Densely Connected Convolutional Networks",
        arxiv="1608.06993",
        params=params,
        macs=macs,
        checkpoints=(published_weights(name, published),),
    )


CARDS = (
    _card(
        "DenseNet121",
        params=7_978_856,
        macs=2_834_161_664,
        published=Published(
            top1=0.757,
            top5=0.926,
            reference_top1=0.75,
            flops_g=5.69,
            params_m=7.98,
            v100_fp32=(3.4, 6.94, 9.17),
            t4_fp16=(4.16436, 7.2126, 10.50221),
            t4_fp32=(4.40447, 9.32623, 15.25175),
        ),
    ),
    _card(
        "DenseNet161",
        params=28_681_000,
        macs=7_727_907_072,
        published=Published(
            top1=0.786,
            top5=0.941,
            reference_top1=0.778,
            flops_g=15.49,
            params_m=28.68,
            v100_fp32=(7.06, 14.37, 19.55),
            t4_fp16=(9.27249, 14.25326, 20.19849),
            t4_fp32=(10.39152, 22.15555, 35.78443),
        ),
    ),
    _card(
        "DenseNet169",
        params=14_149_480,
        macs=3_359_843_328,
        published=Published(
            top1=0.768,
            top5=0.933,
            reference_top1=0.764,
            flops_g=6.74,
            params_m=14.15,
            v100_fp32=(5.0, 10.29, 12.84),
            t4_fp16=(6.11395, 10.28747, 13.68717),
            t4_fp32=(6.43598, 12.98832, 20.41964),
        ),
    ),
    _card(
        "DenseNet201",
        params=20_013_928,
        macs=4_291_365_888,
        published=Published(
            top1=0.776,
            top5=0.937,
            reference_top1=0.775,
            flops_g=8.61,
            params_m=20.01,
            v100_fp32=(6.38, 13.72, 17.17),
            t4_fp16=(7.9617, 13.4171, 17.41949),
            t4_fp32=(8.20652, 17.45838, 27.06309),
        ),
    ),
    _card(
        "DenseNet264",
        params=33_337_704,
        macs=5_751_653_376,
        published=Published(
            top1=0.78,
            top5=0.939,
            reference_top1=0.779,
            flops_g=11.54,
            params_m=33.37,
            v100_fp32=(9.34, 20.95, 25.41),
            t4_fp16=(11.70074, 19.69375, 24.79545),
            t4_fp32=(12.14722, 26.27707, 40.01905),
        ),
    ),
)
