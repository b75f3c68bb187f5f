"""Cards of DarkNet."""

from ppcls.models.card import ModelCard, Published, published_weights

_PUBLISHED = Published(
    top1=0.78,
    top5=0.941,
    reference_top1=0.772,
    reference_top5=0.938,
    flops_g=18.58,
    params_m=41.6,
    v100_fp32=(2.79, 6.42, 10.89),
    t4_fp16=(3.18101, 5.88419, 10.14964),
    t4_fp32=(4.10829, 12.1714, 22.15266),
)

CARDS = (
    ModelCard(
        name="DarkNet53",
        family="DarkNet",
        paper="YOLOv3: An Incremental Improvement",
        arxiv="1804.02767",
        params=41_609_928,
        macs=9_285_115_904,
        checkpoints=(published_weights("DarkNet53", _PUBLISHED),),
        input_size=256,
        resize_short=292,
    ),
)
