"""Cards of DenseNet."""

from ppcls.models.card import ModelCard, read_published

_WEIGHTS = read_published(__file__)

CARDS = tuple(
    ModelCard(
        name=name,
        family="DenseNet",
        paper="Densely Connected Convolutional Networks",
        arxiv="1608.06993",
        params=params,
        macs=macs,
        checkpoints=_WEIGHTS[name],
    )
    for name, params, macs in (
        ("DenseNet121", 7_978_856, 2_834_161_664),
        ("DenseNet161", 28_681_000, 7_727_907_072),
        ("DenseNet169", 14_149_480, 3_359_843_328),
        ("DenseNet201", 20_013_928, 4_291_365_888),
        ("DenseNet264", 33_337_704, 5_751_653_376),
    )
)
