"""Auto chooses what the log can show, and tells of what it did not choose; the simplest learner."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import rankdata
from simulated_logs import QUICK, make_frame, make_log, make_schema
from trials import TYPES, raw, simulate, uniform

from uplift import LEARNERS, InputError, RequestLog, UpliftModel
from uplift.clusters import Estimate
from uplift.learners import AutoLearner, ProportionalLearner
from uplift.learners import auto as auto_module
from uplift.learners.base import Prediction

FEW = ("proportional", "s", "t", "dr")
FOLDS = ("-fold0", "-fold1", "-fold2")
#: So few and so small steps that the held-out loss falls through all of them.
STEADY = replace(QUICK, max_rounds=3, learning_rate=0.1)


def new(params=QUICK, members=FEW, n_settings=0, **options):
    return AutoLearner(params, members=members, n_settings=n_settings, **options)


def proportional_trial(n=3000, seed=0, n_arms=1):
    """A rare outcome (7 %) whose odds each arm multiplies by the same factor everywhere."""
    rng = np.random.default_rng(seed)
    X, arm = rng.normal(size=(n, 3)), rng.integers(0, n_arms + 1, n)
    margins = -3 + X[:, :1] + 0.4 * np.arange(n_arms + 1)
    y = (rng.random(n) < expit(margins)[np.arange(n), arm]).astype(float)
    return X, y, arm, expit(margins)


def mean_of_fits(learner, X, y, arm, propensity, groups=None):
    """Predict X by a learner's fits on all rows and without each fold; return their mean."""
    data = learner._training(X, y, arm, propensity, None, groups)
    boosted = {name: b for name, b in learner._learn(data).items() if b.whole is not None}
    whole = {name: b.whole for name, b in boosted.items()}
    folds = [{n: b.without[fold] for n, b in boosted.items()} for fold in range(learner.n_folds)]
    found = [learner._both(models, learner.columns_.read(X, "X")) for models in (whole, *folds)]
    return Prediction(*(np.mean([getattr(f, n) for f in found], axis=0) for n in vars(found[0])))


def kept(learner):
    return [c.name.split("-")[0] for c in learner.candidates_ if c.weight and c.name != "stack"]


def test_in_a_small_noisy_log_no_wild_learner_is_kept_alone():
    """200 purchases cannot show who gains more: kinds are averaged, or the simplest is kept.

    As in 8 of 8 seeds. To be kept alone another must be told from one effect for all by one
    standard error and rank better than chance by a 95 % interval.
    """
    for seed in range(2):
        X, y, arm, _ = proportional_trial(seed=seed)
        learner = new().fit(X, y, arm, propensity=uniform(arm))
        assert kept(learner) == ["proportional"] or len(kept(learner)) > 1
        assert sum(c.weight for c in learner.candidates_) == pytest.approx(1)


def test_with_one_effect_for_all_kinds_are_averaged():
    """Of a loss too: what all rows have alike shows not who gains more."""
    X, y, arm, _ = simulate(1500, binary=False, effect=-0.5, step=False)
    learner = new(members=("proportional", "t"), feature_types=TYPES)
    learner.fit(X, y, arm, propensity=uniform(arm))
    assert [c.weight for c in learner.candidates_] == [0.5, 0.5, 0.0]
    assert learner.predict(X).mean() < 0


def test_a_step_of_the_effect_is_not_left_to_the_simplest_learner():
    """0.3 where x_0 > 0, 0 elsewhere: proportional effects are wrong in half of the rows.

    In 3,000 rows that costs more than 4 paired standard errors, where 1 would be enough.
    """
    X, y, arm, truth = simulate(3000)
    learner = new(feature_types=TYPES).fit(X, y, arm, propensity=uniform(arm))
    behind = learner.candidates_[0].behind
    assert learner.candidates_[0].name == "proportional"
    assert behind.value > 4 * (behind.upper - behind.lower) / 2 / 1.96
    assert kept(learner)[0] in ("s", "t", "dr")
    assert np.corrcoef(learner.predict(X)[:, 0], truth[:, 0])[0, 1] > 0.8


@pytest.fixture(scope="module")
def step():
    """A trial with three arms, and auto of all members with two settings fitted on it."""
    X, y, arm, truth = simulate(1500, n_arms=2, effect=0.5)
    calls = []
    learner = AutoLearner(
        QUICK, feature_types=TYPES, n_settings=2, progress=lambda *call: calls.append(call)
    )
    found = learner.fit_out_of_fold(X, y, arm, propensity=uniform(arm))
    return (X, y, arm, truth), learner, found, calls


def test_the_table_of_candidates_is_complete(step):
    _, learner, _, _ = step
    table = learner.candidates_
    names = [c.name for c in table]
    assert names[:7] == ["proportional", "s", "logit", "t", "x", "r", "dr"]
    best = names[7].split("-")[0]
    assert names[7:] == [f"{best}-2", f"{best}-3", "stack"]
    assert [bool(c.settings) for c in table] == [False] * 7 + [True] * 2 + [False]
    for c in table[7:9]:
        assert set(c.settings) == {"max_depth", "learning_rate", "min_child_weight"}
    for c in table:
        for measured in (c.r_gain, c.dr_gain, c.behind, c.qini):
            assert isinstance(measured, Estimate)
            assert measured.lower <= measured.value <= measured.upper
        assert c.behind.value >= 0
        assert c.seconds > 0
    assert min(c.behind.value for c in table) == 0
    assert table[-1].seconds == pytest.approx(sum(c.seconds for c in table[:-1]))


def test_the_other_settings_are_those_of_the_best_of_the_given(step):
    _, learner, _, _ = step
    given = learner.candidates_[:7]
    assert learner.candidates_[7].name == f"{max(given, key=lambda c: c.r_gain.value).name}-2"


def test_one_candidate_is_kept_whole(step):
    """And what it predicts is the mean of the same learner's fits, made alone."""
    (X, y, arm, _), learner, found, _ = step
    (one,) = [c for c in learner.candidates_ if c.weight]
    assert one.weight == 1.0
    params = replace(QUICK, **one.settings)
    alone = LEARNERS[one.name.split("-")[0]](params, feature_types=TYPES)
    expected = alone.fit_out_of_fold(X, y, arm, propensity=uniform(arm))
    fits = mean_of_fits(alone, X, y, arm, uniform(arm))
    np.testing.assert_allclose(learner.predict(X), fits.uplift, atol=1e-12)
    np.testing.assert_allclose(learner.predict_outcome(X)[:, 0], fits.outcome[:, 0], atol=1e-12)
    np.testing.assert_array_equal(found.outcome, expected.outcome)
    np.testing.assert_array_equal(found.uplift, expected.uplift)


def test_progress_counts_the_candidates(step):
    assert step[3] == [(done, 9) for done in range(1, 10)]


def test_members_are_tried_in_the_order_of_simplicity_and_once():
    X, y, arm, _ = simulate(600)
    calls = []
    learner = new(members=["t", "s", "t"], progress=lambda *call: calls.append(call))
    learner.fit(X, y, arm, propensity=uniform(arm))
    assert [c.name for c in learner.candidates_] == ["s", "t", "stack"]
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize("n_settings", [0, 3])
def test_the_number_of_settings_is_that_asked_for(n_settings):
    X, y, arm, _ = simulate(600)
    learner = new(members=("s",), n_settings=n_settings).fit(X, y, arm, propensity=uniform(arm))
    names = [c.name for c in learner.candidates_]
    assert names == ["s", *(f"s-{i}" for i in range(2, 2 + n_settings)), "stack"]


def timeless(learner):
    return [replace(c, seconds=0.0) for c in learner.candidates_]


def test_the_same_seed_gives_the_same_bytes_and_another_other_settings():
    X, y, arm, _ = simulate(1000)
    options = {"propensity": uniform(arm), "groups": np.arange(1000) // 2}
    seeds = (0, 0, 1)
    fitted = [
        new(replace(QUICK, seed=seed), members=("s", "t"), n_settings=1).fit(X, y, arm, **options)
        for seed in seeds
    ]
    assert raw(fitted[0]) == raw(fitted[1])
    assert fitted[0].constants_ == fitted[1].constants_
    assert timeless(fitted[0]) == timeless(fitted[1])
    assert fitted[0].candidates_[2].settings != fitted[2].candidates_[2].settings


@pytest.fixture
def keep(monkeypatch):
    """Have chosen weights kept, whatever the losses say."""

    def force(*weights):
        def chosen(*arguments):
            return replace(choose(*arguments), weights=np.array(weights))

        monkeypatch.setattr(auto_module, "choose", chosen)

    choose = auto_module.choose
    return force


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("weights", [(0.0, 0.5, 0.2, 0.4), (0.0, 0.0, 0.7, 0.0)])
def test_what_is_kept_is_a_weighted_sum(keep, weights, binary):
    """On the weighted mean of outcomes under arm 0; of members that are each as fitted alone.

    Of new rows each predicts by the mean of its fits, out of fold by the one without the fold.
    """
    keep(*weights)
    X, y, arm, _ = simulate(1000, n_arms=2, binary=binary)
    options = {"propensity": uniform(arm), "groups": np.arange(1000) // 2}
    learner = new(feature_types=TYPES)
    found = learner.fit_out_of_fold(X, y, arm, **options)
    alone = [LEARNERS[name](QUICK, feature_types=TYPES) for name in FEW]
    parts = [one.fit_out_of_fold(X, y, arm, **options) for one in alone]
    total = sum(weights)
    for prediction, each in (
        (found, parts),
        (learner.predict_both(X), [mean_of_fits(one, X, y, arm, **options) for one in alone]),
    ):
        uplift = sum(w * p.uplift for w, p in zip(weights, each, strict=True))
        control = sum(w * p.outcome[:, 0] for w, p in zip(weights, each, strict=True)) / total
        outcome = np.column_stack([control, control[:, None] + uplift])
        np.testing.assert_allclose(prediction.uplift, uplift, atol=1e-12)
        expected = outcome.clip(0, 1) if binary else outcome
        np.testing.assert_allclose(prediction.outcome, expected, atol=1e-12)
    np.testing.assert_allclose(learner.predict(X), learner.predict_both(X).uplift, atol=1e-12)
    assert [c.weight for c in learner.candidates_] == [*weights, 0.0]


@pytest.mark.parametrize("member", ["s", "dr"])
def test_other_settings_are_what_the_candidate_was_fitted_with(keep, member):
    keep(0.0, 1.0)
    X, y, arm, _ = simulate(600)
    learner = new(members=(member,), n_settings=1).fit(X, y, arm, propensity=uniform(arm))
    settings = learner.candidates_[1].settings
    alone = LEARNERS[member](replace(QUICK, **settings)).fit(X, y, arm, propensity=uniform(arm))
    name, whole = f"{member}-2", raw(alone)
    assert {key: b for key, b in raw(learner).items() if key.startswith(f"{name}.")} == {
        f"{name}.{key}": booster for key, booster in whole.items()
    }
    assert {key.split(".")[0] for key in learner.boosters_} == {name + f for f in ("", *FOLDS)}


def test_a_stack_survives_the_disk(keep, tmp_path):
    keep(0.3, 0.0, 0.4, 0.4)
    log = make_log(n_users=200, n_arms=2)
    model = UpliftModel.fit(log, new())
    model.save(tmp_path)
    again = UpliftModel.load(tmp_path, log.schema)
    np.testing.assert_array_equal(again.predict_outcome(log), model.predict_outcome(log))
    np.testing.assert_array_equal(again.raw_uplift(log), model.raw_uplift(log))
    names = {file.name.split(".")[0] for file in tmp_path.glob("*.ubj")}
    kinds = ("proportional", "t", "dr")
    assert names == {f"{kind}{fit}" for kind in kinds for fit in ("", *FOLDS)}


def test_candidates_survive_the_disk(tmp_path):
    log = RequestLog(make_frame(n_users=200), make_schema())
    calls = []
    given = new(members=("s", "t"), n_settings=1)
    model = UpliftModel.fit(log, given, progress=lambda *call: calls.append(call))
    model.save(tmp_path)
    again = UpliftModel.load(tmp_path, log.schema).learner
    assert again.candidates_ == model.learner.candidates_
    assert (again.members, again.n_settings, again.progress) == (("s", "t"), 1, None)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert model.learner.progress is None
    table = json.loads((tmp_path / "learner.json").read_text())["candidates"]
    assert [row["name"] for row in table] == [c.name for c in model.learner.candidates_]


def test_a_progress_of_ones_own_is_told():
    calls = []
    given = new(members=("s",), progress=lambda *call: calls.append(call))
    model = UpliftModel.fit(make_log(n_users=100), given)
    assert calls == [(1, 1)]
    assert model.learner.progress is None
    assert given.progress is not None


BAD = {
    "unknown": ({"members": ("s", "forest")}, r"members are \('s', 'forest'\); expected some of"),
    "itself": ({"members": ("auto",)}, r"members are \('auto',\); expected some of"),
    "no estimate of the outcome": ({"members": ("class_transform",)}, "expected some of"),
    "none": ({"members": ()}, r"members are \(\); expected some of \['proportional', 's'"),
    "a name alone": ({"members": "st"}, "members are 'st'; expected some of"),
    "settings below 0": ({"n_settings": -1}, r"n_settings is -1; expected 0, 1, \.\.\."),
    "half a setting": ({"n_settings": 1.5}, r"n_settings is 1\.5; expected 0, 1, \.\.\."),
    "too few folds": ({"n_folds": 2}, "learner 'dr' predicts out of fold needs 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case):
    changes, sentence = BAD[case]
    X, y, arm, _ = simulate(300)
    with pytest.raises(InputError, match=sentence):
        new(**changes).fit(X, y, arm, propensity=uniform(arm))


def test_two_folds_are_enough_without_nuisances():
    X, y, arm, _ = simulate(600)
    learner = new(members=("s", "t"), n_folds=2).fit(X, y, arm, propensity=uniform(arm))
    assert len(learner.candidates_) == 3


def test_out_of_fold_predictions_do_not_know_the_noise_of_their_rows():
    """A feature names the user, so that a member can learn each user's noise by heart.

    As in test_learner_honesty: correlation within 4 standard errors of 0, 1 / sqrt(users).
    """
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(400), 5)
    X, arm = rng.normal(size=400)[user][:, None], rng.integers(0, 2, 2000)
    noise = rng.normal(size=400)
    wild = replace(QUICK, max_depth=6, min_child_weight=1.0, reg_lambda=0.0)
    found = new(wild, members=("s", "t", "dr"), n_settings=2).fit_out_of_fold(
        X, noise[user], arm, propensity=uniform(arm), groups=user
    )
    for column in (found.outcome[:, 0], found.uplift[:, 0]):
        mean = np.bincount(user, column) / 5
        assert mean.std() == 0 or abs(np.corrcoef(mean, noise)[0, 1]) < 4 / np.sqrt(400)


def test_a_users_outcomes_do_not_move_what_is_predicted_of_that_user(keep):
    """Not by a bit, but by way of the choice and of the constants, which are held here."""
    keep(0.5, 0.2, 0.4)
    rng = np.random.default_rng(1)
    X, _, arm, _ = simulate(1500, binary=False)
    user = np.arange(1500) // 3
    y = 3 * X[:, 0] + (X[:, 0] > 0) * arm + rng.normal(0, 0.1, 1500)
    before, after = (
        new(STEADY, members=("s", "t", "dr"), feature_types=TYPES).fit_out_of_fold(
            X, outcome, arm, propensity=uniform(arm), groups=user
        )
        for outcome in (y, np.where(user == 7, -y, y))
    )
    np.testing.assert_array_equal(before.outcome[user == 7], after.outcome[user == 7])
    np.testing.assert_array_equal(before.uplift[user == 7], after.uplift[user == 7])
    assert (before.uplift != after.uplift).any()


def test_out_of_fold_learns_what_fit_learns():
    X, y, arm, _ = simulate(600)
    one, other = new(members=("s", "t")), new(members=("s", "t"))
    one.fit(X, y, arm, propensity=uniform(arm))
    other.fit_out_of_fold(X, y, arm, propensity=uniform(arm))
    assert raw(one) == raw(other)
    assert one.constants_ == other.constants_
    assert timeless(one) == timeless(other)


def test_a_row_of_weight_0_has_no_say():
    X, y, arm, _ = simulate(1000)
    weight = np.where(np.arange(1000) % 4 == 0, 0.0, 1.0)
    one, other = (
        new(members=("s", "dr"), n_settings=1).fit(
            X, outcome, arm, propensity=uniform(arm), sample_weight=weight
        )
        for outcome in (y, np.where(weight == 0, 1 - y, y))
    )
    assert raw(one) == raw(other)
    assert timeless(one) == timeless(other)


def test_several_outcomes_have_each_their_own_candidates():
    X, y, arm, _ = simulate(600)
    Y = np.column_stack([y, 1 - y])
    one, two = new(members=("s", "t")).fit_many(X, Y, arm, propensity=uniform(arm))
    alone = new(members=("s", "t")).fit(X, 1 - y, arm, propensity=uniform(arm))
    assert timeless(two) == timeless(alone)
    assert raw(two) == raw(alone)
    assert timeless(one) != timeless(two)


@pytest.mark.parametrize("n_arms", [1, 2])
def test_the_proportional_uplift_ranks_as_a_rare_outcome(n_arms):
    """Below one half, where the same factor on the odds gains more the likelier the outcome."""
    X, y, arm, _ = proportional_trial(n_arms=n_arms)
    learner = ProportionalLearner(QUICK).fit(X, y, arm)
    both = learner.predict_both(X)
    likely = both.outcome[:, 0]
    assert likely.max() < 0.4
    for a in range(n_arms):
        assert (rankdata(both.uplift[:, a]) == rankdata(likely)).all()
        shift = logit(both.outcome[:, a + 1]) - logit(likely)
        apart = learner.constants_[f"shift_{a + 1}"] - learner.constants_["shift_0"]
        np.testing.assert_allclose(shift, apart, atol=1e-9)


def test_a_continuous_outcome_has_one_effect_for_all():
    X, y, arm, _ = simulate(1000, n_arms=2, binary=False)
    uplift = ProportionalLearner(QUICK, feature_types=TYPES).fit(X, y, arm).predict(X)
    np.testing.assert_allclose(uplift, np.tile(uplift[0], (1000, 1)), atol=1e-12)
    assert uplift[0, 0] != uplift[0, 1]


@pytest.mark.parametrize("n_arms", [1, 2])
def test_the_mean_proportional_effect_is_right(n_arms):
    """Within 4 standard errors of the difference of two arms' means, which is noisier still."""
    X, y, arm, mean = proportional_trial(20_000, n_arms=n_arms)
    uplift = ProportionalLearner(QUICK).fit(X, y, arm).predict(X)
    for a in range(1, n_arms + 1):
        error = np.sqrt(sum(y[arm == k].var() / (arm == k).sum() for k in (0, a)))
        truth = (mean[:, a] - mean[:, 0]).mean()
        assert abs(uplift[:, a - 1].mean() - truth) < 4 * error


def test_a_large_log_is_compared_on_a_sample_and_fitted_whole():
    """The member kept is the one that a fit of its own on all rows would give."""
    X, y, arm, _ = simulate(2000)
    users = np.arange(2000) // 2
    known = {"propensity": uniform(arm), "groups": users}
    auto = AutoLearner(QUICK, members=("s",), n_settings=0, most_rows=500)
    found = auto.fit_out_of_fold(X, y, arm, **known)
    alone = LEARNERS["s"](QUICK)
    whole = alone.fit_out_of_fold(X, y, arm, **known)
    np.testing.assert_array_equal(found.uplift, whole.uplift)
    assert raw(auto)["s.outcome"] == raw(alone)["outcome"]
    assert set(raw(auto)) == {f"s{fit}.outcome" for fit in ("", *FOLDS)}
    with_all = AutoLearner(QUICK, members=("s",), n_settings=0).fit(X, y, arm, **known)
    assert with_all.candidates_[0].r_gain != auto.candidates_[0].r_gain


def test_a_log_with_a_rare_arm_is_compared_whole():
    """14 rows of arm 2: a sample would leave a fold, or all of them, without it."""
    X, y, arm, _ = simulate(1500, n_arms=1)
    arm[:14] = 2
    learner = AutoLearner(QUICK, members=("t",), n_settings=0, most_rows=300)
    assert learner.fit(X, y, arm, propensity=uniform(arm)).n_arms_ == 2
