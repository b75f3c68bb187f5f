"""Cards of AlexNet."""

from ppcls.models.card import ModelCard, Published, published_weights

_PUBLISHED = Published(
    top1=0.567,
    top5=0.792,
    reference_top1=0.572,
    flops_g=1.37,
    params_m=61.09,
    v100_fp32=(0.81, 1.5, 2.33),
    t4_fp16=(1.06447, 1.70435, 2.38402),
    t4_fp32=(1.44993, 2.46696, 3.72085),
)

CARDS = (
    ModelCard(
        name="AlexNet",
        family="AlexNet",
        paper="One weird trick for parallelizing convolutional neural networks",
        arxiv="1404.5997",
        params=61_100_840,
        macs=714_188_480,
        checkpoints=(published_weights("AlexNet", _PUBLISHED),),
        dropout=0.5,
    ),
)
