"""Causal losses, weights of a stack and the rule of one standard error, each by another way."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear, nnls
from scipy.special import expit

from uplift.clusters import LEVEL
from uplift.selection import Judge, choose

ARMS = [1, 3]


def simulate(n=3000, n_arms=1, seed=0, noise=1.0):
    """Rows with a known mean and effect under each arm; arms by unequal known chances.

    Returns the judge by the true means, the true uplift, and folds by cluster (2 rows each).
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    truth = np.column_stack([a * (0.5 + x) for a in range(1, n_arms + 1)])
    mean = np.column_stack([x, x[:, None] + truth])
    share = np.arange(n_arms + 1, 0, -1.0) + np.where(x > 0, 0.0, 1.0)[:, None]
    share /= share.sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] > share.cumsum(axis=1)).sum(axis=1)
    y = mean[np.arange(n), arm] + rng.normal(0, noise, n)
    cluster = np.arange(n) // 2
    weight = rng.uniform(0.5, 2.0, n)
    judge = Judge.of(y, arm, share, mean, cluster, weight)
    return judge, truth, cluster % 3, (y, arm, share, mean)


def standard_error(estimate):
    """Return the standard error behind an interval of many clusters."""
    return (estimate.upper - estimate.lower) / 2 / 1.96


@pytest.mark.parametrize("n_arms", ARMS)
def test_gains_are_differences_of_the_losses(n_arms):
    """Each loss written out row by row: Robinson's residuals, and squared distance to scores."""
    judge, _, _, (y, arm, share, mean) = simulate(200, n_arms)
    uplift = np.random.default_rng(1).normal(size=(200, n_arms))
    for i in range(200):
        expected = sum(share[i, a] * mean[i, a] for a in range(n_arms + 1))
        explained = sum(((arm[i] == a) - share[i, a]) * uplift[i, a - 1] for a in _arms(n_arms))
        loss = [(y[i] - expected - part) ** 2 for part in (0.0, explained)]
        assert judge.r_gain(uplift)[i] == pytest.approx(loss[0] - loss[1], abs=1e-9)
        score = [_score(y[i], arm[i], share[i], mean[i], a) for a in range(n_arms + 1)]
        effect = [score[a] - score[0] for a in _arms(n_arms)]
        pairs = list(zip(effect, uplift[i], strict=True))
        loss = [sum((e - tau) ** 2 for e, tau in pairs), sum(e**2 for e in effect)]
        assert judge.dr_gain(uplift)[i] == pytest.approx(loss[1] - loss[0], abs=1e-9)


def _arms(n_arms):
    return range(1, n_arms + 1)


def _score(y, arm, share, mean, a):
    return mean[a] + (y - mean[a]) / share[a] if arm == a else mean[a]


def test_no_effect_gains_nothing():
    judge, truth, _, _ = simulate(100, 2)
    for gain in (judge.r_gain, judge.dr_gain):
        np.testing.assert_array_equal(gain(np.zeros_like(truth)), np.zeros(100))


@pytest.mark.parametrize("n_arms", ARMS)
@pytest.mark.parametrize("gain", ["r_gain", "dr_gain"])
def test_the_mean_gain_is_highest_at_the_true_effect(n_arms, gain):
    """Wrong sizes, shapes and signs stay behind the truth by more than 4 paired standard errors."""
    judge, truth, _, _ = simulate(20_000, n_arms)
    best = getattr(judge, gain)(truth)
    for wrong in (0.5 * truth, 2 * truth, truth + 0.5, np.abs(truth), np.zeros_like(truth)):
        behind = judge.mean(best - getattr(judge, gain)(wrong))
        assert behind.value > 4 * standard_error(behind)


def test_of_a_scaled_effect_the_r_gain_peaks_at_the_truth():
    """A parabola in the scale, whose top is at 1 within 4 standard errors.

    The top is ``mean(part r) / mean(part^2)``; its error is that of a ratio.
    """
    from uplift.clusters import ratio_estimate

    judge, truth, _, _ = simulate(20_000)
    part = (judge.left * truth).sum(axis=1)
    top = ratio_estimate(
        judge.weight * part * judge.residual, judge.weight * part**2, judge.cluster
    )
    assert abs(top.value - 1) < 4 * standard_error(top)
    gains = [judge.mean(judge.r_gain(b * truth)).value for b in (0.9, 1.0, 1.1)]
    around = [judge.mean(judge.r_gain(b * top.value * truth)).value for b in (0.9, 1.0, 1.1)]
    assert around[1] == max(*around, *gains)


def test_the_mean_is_weighted_and_clustered():
    judge, truth, _, _ = simulate(1000)
    rows = judge.r_gain(truth)
    found = judge.mean(rows)
    assert found.value == pytest.approx(np.average(rows, weights=judge.weight))
    alone = replace(judge, cluster=np.zeros(1000, int))
    assert alone.mean(rows).value == pytest.approx(found.value)
    assert np.isinf(alone.mean(rows).upper)


def purchases(n=20_000, seed=0):
    """Rare purchases (1 %, likely ones a hundred times the unlikely), half of the rows treated.

    Returns the judge by the true probabilities, their uplift, folds, and the rows.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    none, arm = expit(-6 + 1.5 * x[:, 0]), rng.integers(0, 2, n)
    mean = np.column_stack([none, none * np.exp(0.3 + 0.3 * x[:, 1])])
    y = (rng.random(n) < mean[np.arange(n), arm]).astype(float)
    share, cluster = np.full((n, 2), 0.5), np.arange(n) // 2
    judge = Judge.of(y, arm, share, mean, cluster)
    return judge, mean[:, 1:] - mean[:, :1], cluster % 3, (y, arm, share, mean)


def test_a_row_of_purchases_is_weighed_by_one_over_its_variance():
    """Written out; nobody counts more than 100 mean rows, and the mean row counts 1."""
    judge, truth, _, (y, arm, share, mean) = purchases(500)
    chance = (share * mean).sum(axis=1)
    variance = chance * (1 - chance)
    expected = variance.mean() / np.maximum(variance, 0.01 * variance.mean())
    np.testing.assert_allclose(judge.precision, expected, rtol=1e-12)
    assert 90 < judge.precision.max() <= 100
    loss = [((y - chance) - (arm - 0.5) * tau) ** 2 for tau in (0.0, truth[:, 0])]
    np.testing.assert_allclose(judge.r_gain(truth), expected * (loss[0] - loss[1]), atol=1e-12)


def test_of_other_outcomes_all_rows_are_weighed_alike():
    assert simulate(100)[0].precision.tolist() == [1.0] * 100


def test_an_outcome_that_cannot_happen_has_no_variance_to_weigh_by():
    _, _, folds, (y, arm, share, mean) = purchases(60)
    judge = Judge.of(0 * y, arm, share, 0 * mean, folds)
    assert judge.precision.tolist() == [1.0] * 60


def test_by_their_variance_rare_purchases_tell_most():
    """The mean gain of the truth over its standard error, exactly, by these weights and others.

    A row's gain is ``w part (2 r - part)``: it has mean ``w part^2``, variance ``4 w^2 part^2 v``.
    """
    judge, truth, _, (_, _, share, mean) = purchases(5000)
    chance, part = (share * mean).sum(axis=1), judge.left[:, 0] * truth[:, 0]
    variance = chance * (1 - chance)

    def told(weight):
        return (weight * part**2).sum() / np.sqrt((4 * weight**2 * part**2 * variance).sum())

    others = [judge.precision**power for power in (0.0, 0.5, 2.0)]
    assert all(told(judge.precision) > 1.05 * told(other) for other in others)


def candidates(truth, seed=1):
    """The truth in three parts with other scales and noises, and one that is its opposite."""
    rng = np.random.default_rng(seed)
    noisy = [truth * 2 + rng.normal(0, s, truth.shape) for s in (0.5, 1.0)]
    return [*noisy, 100 * (truth - truth.mean()), -truth]


def full_problem(judge, uplifts, rows):
    """Return matrix and target of the least squares that `mix` solves by its normal equations."""
    parts = np.column_stack([(judge.left * u).sum(axis=1) for u in uplifts])
    root = np.sqrt(judge.weight)[rows]
    return parts[rows] * root[:, None], judge.residual[rows] * root


@pytest.mark.parametrize("n_arms", ARMS)
def test_stack_weights_are_non_negative_least_squares(n_arms):
    """As two other solvers find on all rows instead of the normal equations."""
    judge, truth, folds, _ = simulate(2000, n_arms)
    uplifts, rows = candidates(truth), folds != 1
    matrix, target = full_problem(judge, uplifts, rows)
    found = judge.mix(uplifts, rows)
    np.testing.assert_allclose(found, nnls(matrix, target)[0], rtol=1e-5, atol=1e-9)
    bounded = lsq_linear(matrix, target, bounds=(0, np.inf), method="bvls", tol=1e-14)
    np.testing.assert_allclose(found, bounded.x, rtol=1e-5, atol=1e-9)
    assert found[3] == 0
    assert (found >= 0).all()


def test_weights_undo_the_scale_of_a_candidate():
    judge, truth, _, _ = simulate(2000)
    rows = np.ones(2000, bool)
    a, b = candidates(truth)[:2]
    plain, scaled = judge.mix([a, b], rows), judge.mix([1e-6 * a, 1e4 * b], rows)
    np.testing.assert_allclose(scaled, plain / [1e-6, 1e4], rtol=1e-6)


def test_equal_candidates_share_the_weight_of_one():
    judge, truth, _, _ = simulate(2000)
    rows = np.ones(2000, bool)
    twice = judge.mix([truth, truth], rows)
    assert twice.sum() == pytest.approx(judge.mix([truth], rows)[0], rel=1e-6)


def test_a_fold_is_mixed_by_weights_of_the_others():
    judge, truth, folds, _ = simulate(2000, 2)
    uplifts = candidates(truth)
    mixed = judge.mixed(uplifts, folds)
    for fold in range(3):
        weights = judge.mix(uplifts, folds != fold)
        expected = np.tensordot(weights, uplifts, axes=1)[folds == fold]
        np.testing.assert_allclose(mixed[folds == fold], expected, rtol=1e-12)


def test_the_outcome_of_a_fold_does_not_move_its_own_weights():
    judge, truth, folds, _ = simulate(2000)
    other = replace(judge, residual=np.where(folds == 0, -judge.residual, judge.residual))
    first, second = (j.mixed(candidates(truth), folds) for j in (judge, other))
    np.testing.assert_array_equal(first[folds == 0], second[folds == 0])
    assert (first[folds != 0] != second[folds != 0]).any()


def test_a_candidate_is_judged_by_its_shape_and_not_by_its_size():
    judge, truth, folds, _ = simulate(2000)
    gains = [judge.scaled_r_gain(scale * truth, folds) for scale in (1e-4, 1.0, 30.0)]
    np.testing.assert_allclose(gains, gains[0], rtol=1e-6)
    assert gains[0] > judge.scaled_r_gain(-truth, folds) == 0


def kinds_of(judge, uplifts, kinds, folds):
    """Return what was kept, by kind and place, and the choice."""
    choice = choose(judge, uplifts, kinds, folds)
    return np.flatnonzero(choice.weights).tolist(), choice


def spoilt(truth, noise, seed=0):
    return truth + np.random.default_rng(seed).normal(0, noise, truth.shape)


def test_the_simplest_kind_within_one_standard_error_is_kept():
    """The truth is the best; a hair's breadth behind it stands a simpler one, which is kept."""
    judge, truth, folds, _ = simulate()
    kept, choice = kinds_of(judge, [spoilt(truth, 0.02), truth], ["simple", "best"], folds)
    assert kept == [0]
    assert choice.weights.tolist() == [1.0, 0.0]
    assert choice.behind[0].value <= standard_error(choice.behind[0])


def test_one_standard_error_is_where_a_kind_is_left():
    """A simple kind at many distances from the truth, each side of the line in turn."""
    judge, truth, folds, _ = simulate()
    found = []
    for noise in np.linspace(0.02, 0.2, 10):
        kept, choice = kinds_of(judge, [spoilt(truth, noise), truth], ["simple", "best"], folds)
        distance = choice.behind[0].value / standard_error(choice.behind[0])
        assert (kept == [0]) == (distance <= 1)
        found.append(distance)
    assert max(d for d in found if d <= 1) > 0.9
    assert min(d for d in found if d > 1) < 1.1


def test_a_simple_kind_that_is_clearly_behind_is_left():
    judge, truth, folds, _ = simulate()
    kept, choice = kinds_of(judge, [np.ones_like(truth), truth], ["simple", "best"], folds)
    assert kept == [1]
    assert choice.behind[0].value > 4 * standard_error(choice.behind[0])


def test_the_order_of_kinds_is_that_of_simplicity():
    judge, truth, folds, _ = simulate()
    near = spoilt(truth, 0.02)
    assert kinds_of(judge, [near, truth], ["a", "b"], folds)[0] == [0]
    assert kinds_of(judge, [truth, near], ["a", "b"], folds)[0] == [0]


def test_inside_a_kind_the_usual_stands_until_it_is_told_from_the_best():
    """The other of its kind is better; on both sides of the interval's end, and of one error."""
    judge, truth, folds, _ = simulate()
    found = []
    for noise in np.linspace(0.05, 0.4, 12):
        uplifts = [spoilt(truth, noise), np.ones_like(truth), truth]
        kept, choice = kinds_of(judge, uplifts, ["s", "t", "s"], folds)
        assert kept == ([0] if choice.behind[0].lower <= 0 else [2])
        found.append(choice.behind[0].value / standard_error(choice.behind[0]))
    assert any(1 < distance < 1.96 for distance in found)
    assert max(found) > 1.96


def test_a_kind_is_as_near_as_its_nearest():
    """Its usual one is further than one standard error, and would be left for the other kind."""
    judge, truth, folds, _ = simulate()
    for noise in np.linspace(0.05, 0.4, 12):
        near = spoilt(truth, noise)
        distance = choose(judge, [near, truth], ["s", "t"], folds).behind[0]
        if 1 < distance.value / standard_error(distance) < 1.96:
            break
    assert kinds_of(judge, [near, truth], ["s", "t"], folds)[0] == [1]
    assert kinds_of(judge, [near, truth, truth], ["s", "t", "s"], folds)[0] == [0]


def halves(n=3000):
    """Two candidates that know one half of the truth each; together they know it."""
    judge, truth, folds, _ = simulate(n)
    left = np.arange(n)[:, None] % 4 < 2
    return judge, [np.where(left, truth, 0), np.where(left, 0, truth)], truth, folds


def test_the_stack_is_kept_where_it_is_clearly_better_than_each():
    judge, uplifts, truth, folds = halves()
    kept, choice = kinds_of(judge, uplifts, ["a", "b"], folds)
    assert kept == [0, 1]
    np.testing.assert_array_equal(choice.weights, judge.mix(uplifts, np.ones(len(folds), bool)))
    assert choice.behind[2].value == 0
    assert np.corrcoef(judge.mixed(uplifts, folds)[:, 0], truth[:, 0])[0, 1] > 0.99


def test_the_stack_is_left_where_it_adds_nothing():
    judge, truth, folds, _ = simulate()
    kept, _ = kinds_of(judge, [truth, spoilt(truth, 0.5)], ["a", "b"], folds)
    assert kept == [0]


@pytest.mark.parametrize("n_arms", ARMS)
def test_a_choice_tells_of_every_candidate_and_the_stack(n_arms):
    judge, truth, folds, _ = simulate(2000, n_arms)
    uplifts = candidates(truth)
    choice = choose(judge, uplifts, list("abcd"), folds)
    scaled = [judge.mixed([uplift], folds) for uplift in uplifts]
    scaled.append(judge.mixed(uplifts, folds))
    best = max((judge.r_gain(u) for u in scaled), key=lambda rows: judge.mean(rows).value)
    for i, uplift in enumerate(scaled):
        assert choice.r_gain[i] == judge.mean(judge.r_gain(uplift))
        assert choice.dr_gain[i] == judge.mean(judge.dr_gain(uplift))
        assert choice.behind[i] == judge.mean(best - judge.r_gain(uplift))
        assert choice.qini[i] == judge.qini(uplifts[i] if i < len(uplifts) else uplift)
    assert len(choice.r_gain) == len(choice.weights) + 1 == 5
    assert choice.r_gain[3].value == 0  # the opposite of the truth, scaled to nothing


def test_of_predictions_of_nothing_the_simplest_is_kept():
    judge, truth, folds, _ = simulate(300, 2)
    nothing = np.zeros_like(truth)
    choice = choose(judge, [nothing, nothing], ["a", "b"], folds)
    assert choice.weights.tolist() == [1, 0]
    assert [gain.value for gain in choice.r_gain] == [0, 0, 0]


def test_what_ranks_backwards_has_no_part_in_an_average():
    """Judged by its own scale it is as good as nothing; shipped raw it would turn the ranking."""
    judge, truth, folds, _ = simulate(400)
    weak = spoilt(truth, 3.0)
    choice = choose(judge, [weak, -2 * truth, weak], ["a", "b", "c"], folds)
    assert choice.weights[1] == 0
    assert choice.weights.sum() == 1


def test_where_all_rank_backwards_the_simplest_is_kept():
    judge, truth, folds, _ = simulate()
    choice = choose(judge, [-truth, -2 * truth], ["a", "b"], folds)
    assert choice.weights.tolist() == [1, 0]


def constant_effect(n_arms=1, size=0.7):
    """Each arm has an effect of its own, the same for all rows: judge, effect, folds."""
    rng = np.random.default_rng(0)
    _, _, folds, (_, arm, share, mean) = simulate(n_arms=n_arms)
    same = np.tile(size * np.arange(1, n_arms + 1), (len(arm), 1))
    mean = np.column_stack([mean[:, 0], mean[:, :1] + same])
    y = mean[np.arange(len(arm)), arm] + rng.normal(size=len(arm))
    return Judge.of(y, arm, share, mean, np.arange(len(arm)) // 2), same, folds


@pytest.mark.parametrize("n_arms", ARMS)
@pytest.mark.parametrize("size", [0.7, -0.7])
def test_where_the_effect_is_the_same_for_all_kinds_are_averaged(n_arms, size):
    """Be it a gain or a loss, who gains more is not shown by that.

    Each has the same say: its part of the sum has the same spread. The weights sum to 1.
    """
    judge, same, folds = constant_effect(n_arms, size)
    uplifts = [spoilt(same, noise, seed) for seed, noise in enumerate((0.01, 0.03, 0.02))]
    choice = choose(judge, uplifts, ["a", "b", "b"], folds)
    assert all(choice.behind[i].lower <= 0 for i in (0, 1))
    spread = [np.sqrt((u - u.mean(axis=0)).var(axis=0).sum()) for u in uplifts]
    assert choice.weights[0] * spread[0] == pytest.approx(choice.weights[1] * spread[1], rel=0.05)
    assert choice.weights[2] == 0
    assert choice.weights.sum() == pytest.approx(1)
    assert choice.r_gain[0].lower > 0


def test_what_says_the_same_of_all_rows_has_its_even_part():
    """It has no spread to be weighed by; the others share the rest."""
    judge, same, folds = constant_effect()
    noisy = [same + wide * (spoilt(same, 0.02) - same) for wide in (1, 2)]
    found = choose(judge, [same, *noisy], ["a", "b", "c"], folds).weights
    np.testing.assert_allclose(found, [1 / 3, 4 / 9, 2 / 9])
    assert choose(judge, [same, 2 * same], ["a", "b"], folds).weights.tolist() == [0.5, 0.5]


def test_what_is_told_from_the_best_has_no_part_in_the_average():
    """The second kind points the wrong way wherever it says anything, by many standard errors."""
    judge, same, folds = constant_effect()
    uplifts = [spoilt(same, 0.01, 0), spoilt(same, 0.01, 1), spoilt(same, 50.0, 2)]
    choice = choose(judge, uplifts, ["a", "b", "c"], folds)
    assert choice.behind[2].lower > 0
    assert choice.weights[2] == 0
    assert choice.weights.sum() == 1


@pytest.mark.parametrize("n_arms", ARMS)
def test_where_it_is_shown_who_gains_nothing_is_averaged(n_arms):
    judge, truth, folds, _ = simulate(n_arms=n_arms)
    assert choose(judge, [np.ones_like(truth), truth], ["a", "b"], folds).weights.tolist() == [0, 1]


def test_one_candidate_is_kept():
    judge, truth, folds, _ = simulate(300)
    assert choose(judge, [-truth], ["a"], folds).weights.tolist() == [1.0]
    assert choose(judge, [truth], ["a"], folds).weights.tolist() == [1.0]


def test_one_cluster_cannot_tell_and_kinds_are_averaged():
    judge, truth, folds, _ = simulate(300)
    alone = replace(judge, cluster=np.zeros(300, int))
    choice = choose(alone, [truth, 3 * truth], ["a", "b"], folds)
    np.testing.assert_allclose(choice.weights, [0.75, 0.25])
    assert np.isinf(choice.behind[0].upper)


def test_a_weight_of_0_is_a_row_that_is_not_there():
    judge, truth, folds, _ = simulate(1000)
    uplifts, gone = candidates(truth), np.arange(1000) >= 800
    weighted = replace(judge, weight=np.where(gone, 0.0, judge.weight))
    fewer = Judge(*(field[~gone] for field in vars(judge).values()))
    one = choose(weighted, uplifts, list("abcd"), folds)
    two = choose(fewer, [u[~gone] for u in uplifts], list("abcd"), folds[~gone])
    np.testing.assert_allclose(one.weights, two.weights, rtol=1e-6)
    for a, b in zip(one.r_gain[:4], two.r_gain[:4], strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-6, abs=1e-12)


def test_without_weights_all_rows_weigh_1():
    _, _, _, rows = simulate(100)
    judge = Judge.of(*rows, np.arange(100))
    assert judge.weight.tolist() == [1.0] * 100
    assert LEVEL == 0.95  # what `standard_error` takes for granted
