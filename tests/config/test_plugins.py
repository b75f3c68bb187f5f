"""What a user's own module registers is known wherever a configuration names it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import ppcls
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.errors import BundleError, ConfigError

PLUGIN = '''
import numpy as np

from ppcls.data.transforms.base import TRANSFORMS, Transform

__version__ = "1.2"


@TRANSFORMS.register
class Darken{n}(Transform):
    """Halve the brightness `times` times."""

    times: int = 1

    def __call__(self, image, rng):
        return (image // 2**self.times).astype(np.uint8)
'''


@pytest.fixture
def plugin(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A plug-in whose module and transform have names of their own in each test."""
    from ppcls.data.transforms.base import TRANSFORMS

    n = abs(hash(request.node.name)) % 10**6
    path = tmp_path / f"my_transforms_{n}.py"
    path.write_text(PLUGIN.format(n=n))
    yield path
    sys.modules.pop(path.stem, None)
    if TRANSFORMS.get(f"Darken{n}"):
        TRANSFORMS.remove(f"Darken{n}")


def name_of(plugin: Path) -> str:
    return "Darken" + plugin.stem.rpartition("_")[2]


def dark(plugin: Path) -> list[str]:
    """Overrides that let the evaluation use the plug-in's transform."""
    ops = f"[{{DecodeImage: }}, {{ResizeImage: {{size: 32}}}}, {{{name_of(plugin)}: {{times: 2}}}}]"
    return [
        f"Global.plugins=[{plugin}]",
        f"DataLoader.Eval.dataset.transform_ops={ops}",
        f"Infer.transforms={ops}",
    ]


def test_a_configuration_names_a_plug_in(config_file: Path, overrides: list, plugin: Path) -> None:
    config = load_config(config_file, [*overrides, *dark(plugin)])
    op = config.Infer.transforms[2]
    assert op(np.full((2, 2, 3), 200, np.uint8), np.random.default_rng(0)).max() == 50
    wrong = [*overrides, *dark(plugin), f"Infer.transforms.2={{{name_of(plugin)[:-1]}x: }}"]
    with pytest.raises(ConfigError, match=f"did you mean '{name_of(plugin)}'"):
        load_config(config_file, wrong)
    wrong = [*overrides, *dark(plugin), f"Infer.transforms.2={{{name_of(plugin)}: {{time: 2}}}}"]
    with pytest.raises(ConfigError, match="unknown key; did you mean 'times'"):
        load_config(config_file, wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"Global\.plugins\.0: plug-in .*my\.py: no such file"),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("\nx = 1 / 0", r"my\.py:2: ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        (
            "from ppcls.data.transforms.base import TRANSFORMS, Transform\n"
            "class ResizeImage(Transform): pass\n"
            "TRANSFORMS.register(ResizeImage)",
            "'ResizeImage' is taken by ppcls.data.transforms.resize_crop.ResizeImage",
        ),
        (
            "from ppcls.data.transforms.base import TRANSFORMS\nTRANSFORMS.register(print)",
            "register_transform: <built-in function print> is not a class derived from",
        ),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_named(
    config_file: Path, tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "my.py").write_text(text)
    sys.modules.pop("my", None)
    with pytest.raises(ConfigError, match=message):
        load_config(config_file, [f"Global.plugins=[{tmp_path / 'my.py'}]"])


def test_a_class_that_could_not_work_is_refused_when_it_is_registered() -> None:
    def register(kind: str, base: type, body: dict, **options: object) -> None:
        getattr(ppcls, f"register_{kind}")(type("Mine", (base,), body), **options)

    for kind, base, body, message in (
        ("loss", ppcls.Loss, {}, "Mine must define __call__"),
        (
            "metric",
            ppcls.Metric,
            {"valu": lambda self, answers: 0.0},
            "must define value or per_image or parts",
        ),
        ("scheduler", ppcls.Schedule, {}, "must define rate"),
        ("dataset", ppcls.Dataset, {}, "must define scan"),
        ("transform", ppcls.Transform, {"__init__": print}, "options are annotated fields"),
    ):
        with pytest.raises(ConfigError, match=message):
            register(kind, base, body)
    with pytest.raises(ConfigError, match="aliases="):
        register("loss", ppcls.Loss, {"__call__": print}, aliases=("foo",))


def test_an_architecture_or_a_backend_that_could_not_work_is_refused() -> None:
    from ppcls.models import catalogue, registry

    for build, message in (
        ("x", "expected a function or class that builds it, not 'x'"),
        (5, "expected a function or class"),
        (lambda class_num: None, "must take in_channels"),
        (lambda: None, "must take class_num and in_channels"),
    ):
        with pytest.raises(ConfigError, match=message):
            ppcls.register_architecture(build)
    ppcls.register_architecture(lambda **options: None, name="Nothing")
    try:
        with pytest.raises(ConfigError, match="Nothing: its builder returned NoneType; expected"):
            ppcls.create_model("Nothing")
        body = type("Bare", (ppcls.ImageClassifier,), {"__init__": lambda self, **options: None})
        registry._BUILDERS["Nothing"] = body
        with pytest.raises(ConfigError, match="must set feature_info and head and first_conv"):
            ppcls.create_model("Nothing")
    finally:
        del registry._BUILDERS["Nothing"], catalogue._ADDED["Nothing"]

    with pytest.raises(ConfigError, match=r"must define .*run_all and name and reads"):
        ppcls.register_backend(type("Mine", (ppcls.EngineBackend,), {}))


def test_an_optimizer_that_paddle_does_not_have_must_be_built() -> None:
    from ppcls.optim.optimizers import OPTIMIZERS

    ppcls.register_optimizer(type("Mine", (ppcls.Optimizer,), {"__module__": "mine"}))
    try:
        options = "Optimizer={name: Mine, lr: {name: Constant, learning_rate: 0.1}}"
        config = load_config("HarDNet68", [options])
        with pytest.raises(ConfigError, match=r"Optimizer\.name: Mine must define build"):
            config.Optimizer.build(ppcls.create_model("SqueezeNet1_1"))
    finally:
        OPTIMIZERS.remove("Mine")


def test_a_forgotten_plug_in_is_mentioned_once(
    config_file: Path, overrides: list[str], plugin: Path
) -> None:
    forgotten = [*overrides, *dark(plugin)[1:], "Loss.Train=[{Qqq: }]", "Metric.Eval=[{Zzz: }]"]
    with pytest.raises(ConfigError) as raised:
        load_config(config_file, forgotten)
    assert str(raised.value).count("--plugin") == 1
    with pytest.raises(ConfigError) as raised:
        load_config(config_file, [*overrides, "Global.epochs=x"])
    assert "--plugin" not in str(raised.value)


def test_one_plug_in_may_be_written_without_a_list(
    config_file: Path, overrides: list[str], plugin: Path
) -> None:
    config_file.write_text(
        config_file.read_text().replace("Global:\n", f"Global:\n  plugins: {plugin}\n")
    )
    config = load_config(config_file, [*overrides, *dark(plugin)[1:]])
    assert config.Global.plugins == [str(plugin)]
    more = load_config(config_file, [*overrides, f"Global.plugins+={plugin}"])
    assert more.Global.plugins == [str(plugin)] * 2


def test_a_transform_that_returns_no_image_is_named(
    config_file: Path, overrides: list[str], plugin: Path
) -> None:
    plugin.write_text(plugin.read_text().replace("np.uint8)", "np.float32)"))
    config = load_config(config_file, [*overrides, *dark(plugin)])
    with pytest.raises(ConfigError, match=r"Darken\d+ returned float32 \(32, 32, 3\); expected u"):
        config.pipeline("Infer")(np.zeros((40, 40, 3), np.uint8), np.random.default_rng(0))


def test_a_module_that_is_nowhere_is_named(config_file: Path, capsys) -> None:
    assert main(["config", str(config_file), "--plugin", "no_such_module"]) == 2
    assert "plug-in no_such_module: no module 'no_such_module'" in capsys.readouterr().err


@pytest.mark.training
def test_a_run_and_a_bundle_know_their_plug_ins(
    config_file: Path, ready: list[str], plugin: Path, colours: Path, tmp_path: Path, capsys
) -> None:
    from ppcls.data.transforms.base import TRANSFORMS

    config = load_config(config_file, [*ready, *dark(plugin), "Global.epochs=1"])
    run = ppcls.train(config).folder
    started = json.loads((run / "runs.jsonl").read_text())
    assert [(p["name"], p["version"]) for p in started["plugins"]] == [(plugin.stem, "1.2")]
    assert yaml.safe_load((run / "config.yaml").read_text())["Global"]["plugins"] == [str(plugin)]

    bundle = ppcls.export(load_config(config_file, [*ready, *dark(plugin)])).folder
    image = next(colours.rglob("*.PNG"))
    answer = next(ppcls.Predictor(bundle).predict([image]))

    sys.modules.pop(plugin.stem)
    TRANSFORMS.remove(name_of(plugin))
    with pytest.raises(BundleError, match=f"need the plug-in {plugin.stem} 1.2, which is not load"):
        ppcls.Predictor(bundle)
    capsys.readouterr()
    arguments = ["predict", str(bundle), str(image), "--format", "jsonl"]
    assert main([*arguments, "--plugin", str(plugin)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["class_ids"] == answer.class_ids
