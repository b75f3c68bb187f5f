"""Cards of HRNet, without and with squeeze-and-excitation."""

from ppcls.models.card import ModelCard, read_published

_WEIGHTS = read_published(__file__, "legendary_models/")

CARDS = tuple(
    ModelCard(
        name=name,
        family="HRNet",
        paper="Deep High-Resolution Representation Learning for Visual Recognition",
        arxiv="1908.07919",
        params=params,
        macs=macs,
        checkpoints=_WEIGHTS.get(name, ()),
    )
    for name, params, macs in (
        ("HRNet_W18_C", 21_295_164, 4_283_537_072),
        ("HRNet_W30_C", 37_708_380, 8_105_781_680),
        ("HRNet_W32_C", 41_228_840, 8_921_133_056),
        ("HRNet_W40_C", 57_553_320, 12_691_997_440),
        ("HRNet_W44_C", 67_061_144, 14_883_104_960),
        ("HRNet_W48_C", 77_466_024, 17_277_996_032),
        ("HRNet_W60_C", 114_063_000, 25_685_370_560),
        ("HRNet_W64_C", 128_056_104, 28_895_395_840),
        ("SE_HRNet_W18_C", 21_563_920, 4_283_796_912),
        ("SE_HRNet_W30_C", 38_074_860, 8_106_135_408),
        ("SE_HRNet_W32_C", 41_625_280, 8_921_516_032),
        ("SE_HRNet_W40_C", 58_050_120, 12_692_478_208),
        ("SE_HRNet_W44_C", 67_613_356, 14_883_639_872),
        ("SE_HRNet_W48_C", 78_087_792, 17_278_599_168),
        ("SE_HRNet_W60_C", 114_904_796, 25_686_189_888),
        ("SE_HRNet_W64_C", 128_991_264, 28_896_307_200),
    )
)
