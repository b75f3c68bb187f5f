"""Mixing changes images and targets by the same share."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from pydantic import ValidationError

from ppcls.data.transforms.mix import CutmixOperator, MixupOperator, OpSampler


@pytest.mark.parametrize("mix", [MixupOperator(alpha=0.2), CutmixOperator(alpha=1.0)])
def test_targets_say_how_much_of_each_image_there_is(mix) -> None:
    # Image i is all ones in channel i, so a mixed image's channel means are its true shares.
    images = paddle.eye(4).reshape([4, 4, 1, 1]).expand([4, 4, 16, 12])
    targets = paddle.eye(4)
    mixed_any = False
    for seed in range(20):
        mixed, mixed_targets = mix(images, targets, np.random.default_rng(seed))
        assert mixed.shape == [4, 4, 16, 12]
        shares = mixed.mean(axis=[2, 3]).numpy()
        # One pixel is a share of 5e-3.
        np.testing.assert_allclose(shares, mixed_targets.numpy(), atol=1e-4)
        np.testing.assert_allclose(mixed_targets.sum(axis=1).numpy(), 1, atol=1e-4)
        mixed_any |= bool((mixed_targets.numpy().max(axis=1) < 0.999).any())
        again, _ = mix(images, targets, np.random.default_rng(seed))
        assert (again.numpy() == mixed.numpy()).all()
    assert mixed_any
    assert (images.numpy() == np.broadcast_to(np.eye(4)[:, :, None, None], (4, 4, 16, 12))).all()


def test_mixup_blends_and_cutmix_pastes() -> None:
    images = paddle.stack([paddle.zeros([1, 8, 8]), paddle.ones([1, 8, 8])])
    targets = paddle.eye(2)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        blended, _ = MixupOperator(alpha=1.0)(images, targets, rng)
        assert len(np.unique(blended.numpy()[0].round(5))) == 1
        pasted, _ = CutmixOperator(alpha=1.0)(images, targets, rng)
        assert set(np.unique(pasted.numpy())) <= {0.0, 1.0}


def sampler(mixup: float, cutmix: float) -> OpSampler:
    return OpSampler.model_validate(
        {
            "OpSampler": {
                "MixupOperator": {"alpha": 0.8, "prob": mixup},
                "CutmixOperator": {"alpha": 1.0, "prob": cutmix},
            }
        }
    )


def test_one_of_several_is_drawn_for_each_batch() -> None:
    images = paddle.stack([paddle.zeros([1, 8, 8]), paddle.ones([1, 8, 8])])
    targets = paddle.eye(2)
    kinds = []
    for seed in range(300):
        mixed, mixed_targets = sampler(0.5, 0.3)(images, targets, np.random.default_rng(seed))
        shares = mixed.mean(axis=[1, 2, 3]).numpy()
        np.testing.assert_allclose(shares, mixed_targets.numpy()[:, 1], atol=1e-4)
        values = np.unique(mixed.numpy()[0].round(5))
        same = (mixed.numpy() == images.numpy()).all()
        kinds.append("same" if same else "mixup" if len(values) == 1 else "cutmix")
    # Half of all orders of two images leave them where they are.
    assert 50 < kinds.count("mixup") < 100
    assert 20 < kinds.count("cutmix") < 60
    only, _ = sampler(0, 1)(images, targets, np.random.default_rng(1))
    expected, _ = CutmixOperator(alpha=1.0)(images, targets, after_one_draw(1))
    assert (only.numpy() == expected.numpy()).all()


def after_one_draw(seed: int) -> np.random.Generator:
    rng = np.random.default_rng(seed)
    rng.random()
    return rng


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name at least one of MixupOperator and CutmixOperator"),
        ({"MixupOperator": {"alpha": 0.2}}, "Field required"),
        ({"MixupOperator": {"prob": 1.1}}, "less than or equal to 1"),
        ({"MixupOperator": {"prob": 0.6}, "CutmixOperator": {"prob": 0.5}}, "sum to 1.1, more"),
        ({"FmixOperator": {"prob": 0.6}}, "Extra inputs are not permitted"),
    ],
)
def test_probabilities_that_cannot_be_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OpSampler.model_validate({"OpSampler": options})
