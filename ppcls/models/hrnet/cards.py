"""Cards of HRNet, without and with squeeze-and-excitation."""

from ppcls.models.card import ModelCard, Published, published_weights


def _card(
    name: str,
    *,
    params: int,
    macs: int,
    published: Published | None = None,
    ssld: Published | None = None,
) -> ModelCard:
    return ModelCard(
        name=name,
        family="HRNet",
        paper="Deep High-Resolution Representation Learning for Visual Recognition",
        arxiv="1908.07919",
        params=params,
        macs=macs,
        checkpoints=tuple(
            published_weights(name, page, variant=variant, folder="legendary_models/")
            for variant, page in (("", published), ("ssld", ssld))
            if page is not None
        ),
    )


CARDS = (
    _card(
        "HRNet_W18_C",
        params=21_295_164,
        macs=4_283_537_072,
        published=Published(
            top1=0.769,
            top5=0.934,
            reference_top1=0.768,
            reference_top5=0.934,
            flops_g=4.14,
            params_m=21.29,
            v100_fp32=(6.66, 8.94, 11.95),
            t4_fp16=(6.79093, 11.50986, 17.67244),
            t4_fp32=(7.40636, 13.29752, 23.33445),
        ),
        ssld=Published(
            top1=0.816,
            top5=0.958,
            reference_top1=0.768,
            reference_top5=0.934,
            flops_g=4.14,
            params_m=21.29,
            v100_fp32=(6.66, 8.92, 11.93),
            t4_fp16=(6.79093, 11.50986, 17.67244),
            t4_fp32=(7.40636, 13.29752, 23.33445),
        ),
    ),
    _card(
        "HRNet_W30_C",
        params=37_708_380,
        macs=8_105_781_680,
        published=Published(
            top1=0.78,
            top5=0.94,
            reference_top1=0.782,
            reference_top5=0.942,
            flops_g=16.23,
            params_m=37.71,
            v100_fp32=(8.61, 11.4, 15.23),
            t4_fp16=(8.98077, 14.08082, 21.23527),
            t4_fp32=(9.57594, 17.35485, 32.6933),
        ),
    ),
    _card(
        "HRNet_W32_C",
        params=41_228_840,
        macs=8_921_133_056,
        published=Published(
            top1=0.783,
            top5=0.942,
            reference_top1=0.785,
            reference_top5=0.942,
            flops_g=17.86,
            params_m=41.23,
            v100_fp32=(8.54, 11.58, 15.57),
            t4_fp16=(8.82415, 14.21462, 21.19804),
            t4_fp32=(9.49807, 17.72921, 32.96305),
        ),
    ),
    _card(
        "HRNet_W40_C",
        params=57_553_320,
        macs=12_691_997_440,
        published=Published(
            top1=0.788,
            top5=0.945,
            reference_top1=0.789,
            reference_top5=0.945,
            flops_g=25.41,
            params_m=57.55,
            v100_fp32=(9.83, 15.02, 20.92),
            t4_fp16=(11.4229, 19.1595, 30.47984),
            t4_fp32=(12.12202, 25.68184, 48.90623),
        ),
    ),
    _card(
        "HRNet_W44_C",
        params=67_061_144,
        macs=14_883_104_960,
        published=Published(
            top1=0.79,
            top5=0.945,
            reference_top1=0.789,
            reference_top5=0.944,
            flops_g=29.79,
            params_m=67.06,
            v100_fp32=(10.62, 16.18, 25.92),
            t4_fp16=(12.25778, 22.75456, 32.61275),
            t4_fp32=(13.19858, 32.25202, 59.09871),
        ),
    ),
    _card(
        "HRNet_W48_C",
        params=77_466_024,
        macs=17_277_996_032,
        published=Published(
            top1=0.79,
            top5=0.944,
            reference_top1=0.793,
            reference_top5=0.945,
            flops_g=34.58,
            params_m=77.47,
            v100_fp32=(11.07, 17.06, 27.28),
            t4_fp16=(12.65015, 23.12886, 33.37859),
            t4_fp32=(13.70761, 34.43572, 63.01219),
        ),
        ssld=Published(
            top1=0.836,
            top5=0.968,
            reference_top1=0.793,
            reference_top5=0.945,
            flops_g=34.58,
            params_m=77.47,
            v100_fp32=(11.09, 17.04, 27.28),
            t4_fp16=(12.65015, 23.12886, 33.37859),
            t4_fp32=(13.70761, 34.43572, 63.01219),
        ),
    ),
    _card(
        "HRNet_W60_C",
        params=114_063_000,
        macs=25_685_370_560,
    ),
    _card(
        "HRNet_W64_C",
        params=128_056_104,
        macs=28_895_395_840,
        published=Published(
            top1=0.793,
            top5=0.946,
            reference_top1=0.795,
            reference_top5=0.946,
            flops_g=57.83,
            params_m=128.06,
            v100_fp32=(13.82, 21.15, 35.51),
            t4_fp16=(15.10428, 27.68901, 40.4198),
            t4_fp32=(17.57527, 47.9533, 97.11228),
        ),
    ),
    _card(
        "SE_HRNet_W18_C",
        params=21_563_920,
        macs=4_283_796_912,
    ),
    _card(
        "SE_HRNet_W30_C",
        params=38_074_860,
        macs=8_106_135_408,
    ),
    _card(
        "SE_HRNet_W32_C",
        params=41_625_280,
        macs=8_921_516_032,
    ),
    _card(
        "SE_HRNet_W40_C",
        params=58_050_120,
        macs=12_692_478_208,
    ),
    _card(
        "SE_HRNet_W44_C",
        params=67_613_356,
        macs=14_883_639_872,
    ),
    _card(
        "SE_HRNet_W48_C",
        params=78_087_792,
        macs=17_278_599_168,
    ),
    _card(
        "SE_HRNet_W60_C",
        params=114_904_796,
        macs=25_686_189_888,
    ),
    _card(
        "SE_HRNet_W64_C",
        params=128_991_264,
        macs=28_896_307_200,
        ssld=Published(
            top1=0.847,
            top5=0.973,
            flops_g=57.83,
            params_m=128.97,
            t4_fp16=(32.33651, 69.31189, 116.07245),
            t4_fp32=(31.6977, 94.99546, 174.45766),
        ),
    ),
)
