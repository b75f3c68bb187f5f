"""Cards of HarDNet."""

from ppcls.models.card import ModelCard, Published, published_weights


def _card(
    name: str,
    *,
    params: int,
    macs: int,
    published: Published,
    dropout: float,
    notes: tuple[str, ...] = (),
) -> ModelCard:
    return ModelCard(
        name=name,
        family="HarDNet",
        paper="HarDNet: A Low Memory Traffic Network",
        arxiv="1909.00948",
        params=params,
        macs=macs,
        checkpoints=(published_weights(name, published),),
        dropout=dropout,
        notes=notes,
    )


CARDS = (
    _card(
        "HarDNet39_ds",
        params=3_488_228,
        macs=429_471_474,
        published=Published(
            top1=0.7133,
            top5=0.8998,
            flops_g=0.4,
            params_m=3.5,
            v100_fp32=(1.4, 2.3, 3.33),
        ),
        dropout=0.05,
    ),
    _card(
        "HarDNet68_ds",
        params=4_180_602,
        macs=775_281_526,
        published=Published(
            top1=0.7362,
            top5=0.9152,
            flops_g=0.8,
            params_m=4.2,
            v100_fp32=(2.26, 3.34, 5.06),
        ),
        dropout=0.05,
    ),
    _card(
        "HarDNet68",
        params=17_565_348,
        macs=4_246_114_304,
        published=Published(
            top1=0.7546,
            top5=0.9265,
            flops_g=4.3,
            params_m=17.6,
            v100_fp32=(3.58, 8.53, 11.58),
        ),
        dropout=0.1,
        notes=(
            "The 2.0-era reproduction reached top-1/top-5 errors of 24.122/7.282%, "
            "against a top-1 error of 23.8% in the paper.",
        ),
    ),
    _card(
        "HarDNet85",
        params=36_670_212,
        macs=9_074_081_584,
        published=Published(
            top1=0.7744,
            top5=0.9355,
            flops_g=9.1,
            params_m=36.7,
            v100_fp32=(6.24, 14.85, 20.57),
        ),
        dropout=0.2,
    ),
)
