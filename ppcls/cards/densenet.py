"""Cards of DenseNet."""

from functools import partial

from ppcls.cards.card import ModelCard

_card = partial(
    ModelCard,
    family="DenseNet",
    paper="Densely Connected Convolutional Networks",
    arxiv="1608.06993",
)

CARDS = (
    _card(
        name="DenseNet121",
        params=7_978_856,
        macs=2_834_161_664,
        published_top1=0.757,
        published_top5=0.926,
    ),
    _card(
        name="DenseNet161",
        params=28_681_000,
        macs=7_727_907_072,
        published_top1=0.786,
        published_top5=0.941,
    ),
    _card(
        name="DenseNet169",
        params=14_149_480,
        macs=3_359_843_328,
        published_top1=0.768,
        published_top5=0.933,
    ),
    _card(
        name="DenseNet201",
        params=20_013_928,
        macs=4_291_365_888,
        published_top1=0.776,
        published_top5=0.937,
    ),
    _card(
        name="DenseNet264",
        params=33_337_704,
        macs=5_751_653_376,
        published_top1=0.78,
        published_top5=0.939,
    ),
)
