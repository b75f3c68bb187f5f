"""The classifier is that of the stated problem, and splits depend on content alone."""

from __future__ import annotations

import numpy as np
import pytest

from ppcls.fitting.choice import Proportion, Training, choose, fit_all, folds_of, learning_curve
from ppcls.fitting.logistic import Basis, class_weights, solve
from ppcls.fitting.photos import copies, groups_of, order, split


def clouds(count: int, classes: int, width: int, distance: float = 2.0, seed: int = 0):
    """Return features around a centre for each class, some of them correlated and constant."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(0, distance, (classes, width))
    values = centres[labels] + rng.normal(0, 1, (count, width)) @ rng.normal(0, 1, (width, width))
    values[:, 0] = 3.0
    values[:, 1] = values[:, 2] * 1000
    return values.astype(np.float32), labels


@pytest.mark.parametrize(("count", "width"), [(120, 12), (30, 60)])
@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_the_classifier_minimises_the_penalised_cross_entropy(
    count: int, width: int, strength: float
) -> None:
    values, labels = clouds(count, 3, width)
    basis = Basis.of(values)
    weights = class_weights(labels, 3)
    (found,) = solve(
        basis(values), basis.variances, labels, weights[:, None], 3, strength, tolerance=1e-6
    )
    linear = found.folded(basis)
    # In float64 and in the standardised features themselves, the gradient is zero.
    std = np.where(values.std(0) > 0, values.std(0), 1.0)
    scaled = (values.astype(np.float64) - values.mean(0, np.float64)) / std
    own = linear.weight * std[:, None]
    logits = linear(values.astype(np.float64))
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    residual = (shares - np.eye(3)[labels]) * (weights / weights.sum())[:, None]
    gradient = scaled.T @ residual + strength * own
    assert np.abs(gradient).max() < 2e-4
    assert np.abs(residual.sum(0)).max() < 2e-4


def test_several_problems_at_once_are_the_same_as_one_by_one() -> None:
    values, labels = clouds(90, 3, 10)
    basis = Basis.of(values)
    parts = (np.arange(90)[:, None] % 4 != np.arange(4)).astype(float)
    together = solve(basis(values), basis.variances, labels, parts, 3, 0.1, tolerance=1e-6)
    for k, linear in enumerate(together):
        (alone,) = solve(
            basis(values), basis.variances, labels, parts[:, [k]], 3, 0.1, tolerance=1e-6
        )
        np.testing.assert_allclose(linear.weight, alone.weight, atol=2e-3)


def test_cross_validation_prefers_views_that_help_and_rejects_those_that_do_not() -> None:
    values, labels = clouds(200, 4, 20, distance=1.0)
    groups = np.arange(200)
    folds = folds_of(labels, groups, groups)
    more, _ = clouds(200, 4, 20, distance=1.0, seed=0)
    rng = np.random.default_rng(1)
    helps = Training({0: values, 1: more + rng.normal(0, 0.3, more.shape)}, labels, folds, 4)
    harms = Training({0: values, 1: values[rng.permutation(200)]}, labels, folds, 4)
    assert choose(harms, [(0,), (0, 1)]).views == (0,)
    choice = choose(helps, [(0,), (0, 1)])
    assert choice.accuracy is not None
    assert choice.accuracy.total == 200
    assert (fit_all(helps, choice)(values).argmax(1) == labels).mean() >= choice.accuracy.value
    curve = learning_curve(helps, choice, np.random.default_rng(0).permutation(200))
    assert curve is not None
    assert curve.counts == [20, 40, 80, 160]
    assert curve.expected_at == 400
    assert choice.accuracy.value <= curve.twice <= 1


def test_copies_share_a_fold_and_a_single_picture_has_no_cross_validation() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    groups = np.array([0, 0, 2, 3, 4, 4, 4, 7])
    folds = folds_of(labels, groups, np.arange(8))
    assert folds[0] == folds[1]
    assert folds[4] == folds[5] == folds[6] != folds[7]
    assert set(folds) == {0, 1}
    groups[4:] = 4
    assert not folds_of(labels, groups, np.arange(8)).any()


def test_the_interval_is_wilsons() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for count, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert Proportion(count, total).interval == pytest.approx((low, high), abs=5e-5)


def test_more_images_leave_the_others_where_they_are() -> None:
    digests = [bytes([i]) * 32 for i in range(60)]
    labels, groups = np.arange(60) % 2, np.arange(60)
    held = split(labels, groups, digests, 0.2, seed=0)
    assert np.bincount(labels[held]).tolist() == [6, 6]
    more = split(np.append(labels, 0), np.arange(61), [*digests, b"new" * 11], 0.2, seed=0)
    assert np.count_nonzero(held != more[:60]) <= 2
    assert split(labels, groups, digests, 0.2, seed=1).tolist() != held.tolist()
    assert order(digests, 0).tolist() == order(digests, 0).tolist()


def test_every_class_gets_both_sides_even_of_copies_alone() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    # All of class 0 is one picture; class 1 has two.
    groups = np.array([0, 0, 0, 3, 3, 3, 3, 7])
    held = split(labels, groups, [bytes([i]) * 32 for i in range(8)], 0.2, seed=0)
    assert held[labels == 0].sum() == 1
    assert held.tolist()[3:] == [False, False, False, False, True]


def test_pictures_that_are_alike_are_not_copies() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.random((5, 256)) > 0.5
    thumbs = rng.integers(0, 256, (5, 192), np.uint8)
    hashes[1], thumbs[1] = hashes[0], thumbs[0]  # saved again
    hashes[2], thumbs[2] = hashes[0], np.clip(thumbs[0].astype(int) + 9, 0, 255)  # another colour
    hashes[3, :50], thumbs[3] = ~hashes[0, :50], thumbs[0]  # another structure
    digests = [b"a", b"b", b"c", b"d", b"d"]
    assert sorted(copies(digests, hashes, thumbs)) == [(0, 1), (3, 4)]
    assert groups_of(5, [(0, 1), (3, 4)]).tolist() == [0, 0, 2, 3, 3]


def test_many_blank_pictures_are_one_group_in_no_time() -> None:
    hashes, thumbs = np.zeros((3000, 256), bool), np.zeros((3000, 192), np.uint8)
    pairs = list(copies([i.to_bytes(4, "big") for i in range(3000)], hashes, thumbs))
    assert len(pairs) == 2999
    assert not groups_of(3000, pairs).any()


@pytest.mark.parametrize("count", [4, 40])
def test_features_that_say_nothing_give_equal_scores(count: int) -> None:
    values, labels = np.full((count, 8), 0.3, np.float32), np.arange(count) % 2
    basis = Basis.of(values)
    (linear,) = solve(basis(values), basis.variances, labels, np.ones((count, 1)), 2, 0.01)
    logits = linear.folded(basis)(values)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits[:, 0], logits[:, 1], atol=1e-3)
