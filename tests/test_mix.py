"""Mixing changes images and targets by the same share."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppcls.data.mix import CutmixOperator, MixupOperator


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
        np.testing.assert_allclose(shares, mixed_targets.numpy(), atol=1e-5)
        np.testing.assert_allclose(mixed_targets.sum(axis=1).numpy(), 1, atol=1e-5)
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
