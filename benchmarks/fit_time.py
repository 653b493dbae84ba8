"""What a learner costs beside its boosters: time and memory of fits and of scores.

    python benchmarks/fit_time.py fit [ROWS] [REPEATS]      our learners, time (default 1,000,000)
    python benchmarks/fit_time.py memory [ROWS]             our learners, peak memory
    python benchmarks/fit_time.py peers [ROWS] [REPEATS]    beside causalml, econml, scikit-uplift
    python benchmarks/fit_time.py score [ROWS]              rows a second, and memory of 10 x ROWS

Every training that a fit asks XGBoost for is noted, and then done again by itself: a quantile
matrix of its own rows, the same label and rounds, the same held-out rows looked at after each.
Fits and bare trainings take turns, on one thread; ratios are those of the medians, of the clock
and of the processor, which other work on the machine disturbs less.
"""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before XGBoost loads: no spinning on shared cores

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import run
from threading import Event, Thread
from typing import Any

import numpy as np
import xgboost as xgb

import uplift.cross_fit
from uplift import LEARNERS, BoostParams
from uplift.boosting import train, train_watched
from uplift.learners.base import UpliftLearner

FEATURES = 30
#: `auto` fits the others.
NAMES = [name for name in LEARNERS if name != "auto"]
PARAMS = BoostParams(max_rounds=100, patience=100, n_threads=1)


class Trial:
    """Rows of a trial with a purchase rate of 5 %."""

    def __init__(self, n: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.X = rng.standard_normal((n, FEATURES), dtype=np.float32)
        self.arm = rng.integers(0, 2, n)
        logit = -3.2 + 0.5 * self.X[:, 0] + 0.3 * self.X[:, 1] * self.X[:, 2]
        self.y = (rng.random(n) < 1 / (1 + np.exp(-logit - 0.4 * self.arm))).astype(np.float64)
        self.p = np.full((n, 2), 0.5)

    def fit(self, name: str, params: BoostParams = PARAMS) -> UpliftLearner:
        """Fit one of our learners, propensities known."""
        return LEARNERS[name](params).fit(self.X, self.y, self.arm, propensity=self.p)


# --- time -----------------------------------------------------------------------------------------


def fit(rows: str = "1000000", repeats: str = "3") -> None:
    trial = Trial(int(rows))
    print(f"{len(trial.X):,} rows x {FEATURES}, {PARAMS.max_rounds} rounds: median seconds")
    print(f"{'learner':>24} {'fit':>8} {'bare':>8} {'ratio':>6} {'of CPU':>7} {'trainings':>10}")
    for name in NAMES:
        with noted() as trainings:
            trial.fit(name)
        _compare(
            f"ours: {name}",
            lambda name=name: trial.fit(name),
            lambda noted=trainings: [bare(trial, *one) for one in noted],
            len(trainings),
            int(repeats),
        )


@contextmanager
def noted() -> Any:
    """Note what a fit trains: task, width, rows, rounds, held-out rows."""
    trainings: list[tuple[Any, ...]] = []

    def train_noted(task, matrix, index, params, rounds):
        trainings.append((task, matrix.num_col(), index, rounds, None))
        return train(task, matrix, index, params, rounds)

    def watched_noted(task, matrix, index, held, held_index, params):
        booster, losses = train_watched(task, matrix, index, held, held_index, params)
        trainings.append((task, matrix.num_col(), index, len(losses) - 1, held_index))
        return booster, losses

    uplift.cross_fit.train, uplift.cross_fit.train_watched = train_noted, watched_noted
    try:
        yield trainings
    finally:
        uplift.cross_fit.train, uplift.cross_fit.train_watched = train, train_watched


def bare(trial: Trial, task: Any, width: int, index: Any, rounds: int, held: Any) -> None:
    """Do a noted training by itself."""

    def features(index: Any) -> np.ndarray:
        X = trial.X if len(index) == len(trial.X) else trial.X[index]
        return X if width == FEATURES else np.column_stack([X, trial.arm[index]]).astype(np.float32)

    options = {"max_bin": PARAMS.max_bin, "nthread": PARAMS.n_threads}
    if width > FEATURES:
        kinds = ["q"] * FEATURES + ["c"]
        options |= {"feature_types": kinds, "enable_categorical": True}
    matrix = task.label(xgb.QuantileDMatrix(features(index), **options), index)
    booster = xgb.Booster(task.options(PARAMS, index), [matrix])
    if held is not None:
        watch = task.label(xgb.QuantileDMatrix(features(held), ref=matrix, **options), held)
    for i in range(rounds):
        booster.update(matrix, i)
        if held is not None:
            booster.eval(watch)


def _compare(
    name: str, fit: Callable[[], Any], again: Callable[[], Any], count: int, repeats: int
) -> None:
    seconds = np.array([[_time(fit), _time(again)] for _ in range(repeats)])
    (whole, alone), cpu = np.median(seconds, axis=0).T
    print(
        f"{name:>24} {whole:8.2f} {alone:8.2f} {whole / alone:6.2f} {cpu[0] / cpu[1]:7.2f}"
        f" {count:10}",
        flush=True,
    )


def _time(do: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of the clock and of the processor that something takes."""
    start = time.perf_counter(), time.process_time()
    do()
    return time.perf_counter() - start[0], time.process_time() - start[1]


# --- beside the peers -----------------------------------------------------------------------------


def peers(rows: str = "100000", repeats: str = "3") -> None:
    warnings.simplefilter("ignore")
    trial = Trial(int(rows))
    fit(rows, repeats)
    for name, make in {**_causalml(trial), **_econml(trial), **_scikit_uplift(trial)}.items():
        Noted.trainings = []
        make()
        trainings = list(Noted.trainings)
        _compare(
            name,
            make,
            lambda trainings=trainings: [_bare_of(*one) for one in trainings],
            len(trainings),
            int(repeats),
        )


class Noted:
    """Notes the fits of an estimator of XGBoost's."""

    trainings: list[tuple[Any, ...]] = []  # noqa: RUF012

    def fit(self, X, y, sample_weight=None, **options):
        """Fit, and note on what."""
        Noted.trainings.append((self.get_xgb_params(), X, np.ravel(y), sample_weight))
        return super().fit(X, y, sample_weight=sample_weight, **options)


class NotedRegressor(Noted, xgb.XGBRegressor):
    """XGBoost's regressor, noted."""


class NotedClassifier(Noted, xgb.XGBClassifier):
    """XGBoost's classifier, noted."""


class Half:
    """A propensity of one half, known."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Have no parameters."""
        return {}

    def fit(self, X, y, **options):
        """Learn nothing."""
        return self

    def predict_proba(self, X):
        """Return one half for either arm."""
        return np.full((len(X), 2), 0.5)


def _bare_of(options: dict[str, Any], X: Any, y: Any, weight: Any) -> None:
    matrix = xgb.QuantileDMatrix(X, y, weight=weight, nthread=PARAMS.n_threads)
    xgb.train(options, matrix, PARAMS.max_rounds)


def _options() -> dict[str, Any]:
    options = PARAMS.to_xgboost()
    return {**options, "n_jobs": options.pop("nthread"), "n_estimators": PARAMS.max_rounds}


def _causalml(trial: Trial) -> dict[str, Callable[[], Any]]:
    from causalml.inference import meta

    model = NotedRegressor(**_options())
    given = {"X": trial.X, "treatment": trial.arm, "y": trial.y}
    p = {"p": trial.p[:, 1]}
    return {
        "causalml: s": lambda: meta.BaseSRegressor(model).fit(**given),
        "causalml: t": lambda: meta.BaseTRegressor(model).fit(**given),
        "causalml: x": lambda: meta.BaseXRegressor(model).fit(**given, **p),
        "causalml: r": lambda: meta.BaseRLearner(model, cv_n_jobs=1).fit(
            **given, **p, verbose=False
        ),
        "causalml: dr": lambda: meta.BaseDRLearner(model).fit(**given, **p, seed=0),
    }


def _econml(trial: Trial) -> dict[str, Callable[[], Any]]:
    from econml.dr import DRLearner
    from econml.metalearners import SLearner, TLearner, XLearner

    model, y, arm, X = NotedRegressor(**_options()), trial.y, trial.arm, trial.X
    dr = {"model_propensity": Half(), "model_regression": model, "model_final": model}
    return {
        "econml: s": lambda: SLearner(overall_model=model).fit(y, arm, X=X),
        "econml: t": lambda: TLearner(models=model).fit(y, arm, X=X),
        "econml: x": lambda: XLearner(models=model, propensity_model=Half()).fit(y, arm, X=X),
        "econml: dr": lambda: DRLearner(**dr, random_state=0).fit(y, arm, X=X),
    }


def _scikit_uplift(trial: Trial) -> dict[str, Callable[[], Any]]:
    try:
        from sklift.models import ClassTransformation, SoloModel, TwoModels
    except ImportError as error:
        print(f"scikit-uplift is left out: {error}")
        return {}
    given = trial.X, trial.y, trial.arm

    def model() -> NotedClassifier:
        return NotedClassifier(**_options())

    return {
        "scikit-uplift: s": lambda: SoloModel(model()).fit(*given),
        "scikit-uplift: t": lambda: TwoModels(model(), model()).fit(*given),
        "scikit-uplift: class": lambda: ClassTransformation(model()).fit(*given),
    }


# --- memory ---------------------------------------------------------------------------------------


def memory(rows: str = "1000000") -> None:
    print(f"{int(rows):,} rows x {FEATURES}: peak of a fit, in float32 matrices, itself included")
    own = 0.0
    for name in ("booster", *NAMES):
        done = run(
            [sys.executable, __file__, "peak", name, rows],
            capture_output=True,
            text=True,
            check=True,
        )
        peak = float(done.stdout)
        own = own or peak - 1
        beyond = "" if name == "booster" else f"; beyond the booster's own {peak - own:5.2f}"
        print(f"{name:>24} {peak:6.2f}{beyond}", flush=True)


def peak(name: str, rows: str) -> None:
    """Print the peak memory of one fit, X itself included; in a process of its own."""
    trial, params = Trial(int(rows)), replace(PARAMS, max_rounds=5)  # the peak is there by then
    with high_water() as reached:
        if name == "booster":
            matrix = xgb.QuantileDMatrix(trial.X, trial.y, nthread=PARAMS.n_threads)
            xgb.train(params.to_xgboost(), matrix, params.max_rounds)
        else:
            trial.fit(name, params)
    print(1 + reached[0] / trial.X.nbytes)


@contextmanager
def high_water() -> Any:
    """Measure by how many bytes the resident memory rises at most (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    before, found = _status("VmRSS"), [0.0]
    yield found
    found[0] = _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


# --- scores ---------------------------------------------------------------------------------------


def score(rows: str = "1000000") -> None:
    n = int(rows)
    small, trial = Trial(20_000), Trial(n, seed=1)
    small.y = small.X[:, 0] + small.arm * small.X[:, 1] * small.X[:, 2]  # worth all the rounds
    learners = {name: small.fit(name) for name in NAMES}
    print(f"{n:,} rows: million rows a second, predict and bare inplace_predict")
    for name, learner in learners.items():
        turns = _score_turns(learner, trial)
        seconds = np.array([[_time(turn) for turn in turns] for _ in range(5)])
        (ours, alone), cpu = n / np.median(seconds, axis=0).T / 1e6
        ratios = f"ratio {ours / alone:5.2f}, of CPU {cpu[0] / cpu[1]:5.2f}"
        print(f"{name:>24} {ours:6.2f} {alone:6.2f} {ratios}", flush=True)
    _print_score_memory(learners["t"], trial.X)


def _score_turns(learner: UpliftLearner, trial: Trial) -> list[Callable[[], Any]]:
    return [lambda: learner.predict(trial.X), lambda: _bare_score(learner, trial)]


def _bare_score(learner: UpliftLearner, trial: Trial) -> None:
    for name, model in learner.boosters_.items():
        X = trial.X
        if len(model.types) > FEATURES:
            X = np.column_stack([X, np.zeros(len(X), np.float32)])
            model.booster.inplace_predict(X, predict_type="margin")
        if name != "control" or learner.name == "logit":
            model.booster.inplace_predict(X, predict_type="margin")


def _print_score_memory(learner: UpliftLearner, X: np.ndarray) -> None:
    """Score X once and ten times over, mapped from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.f32"
        with path.open("wb") as file:
            for _ in range(10):
                X.tofile(file)
        for times in (1, 10):
            mapped = np.memmap(path, np.float32, "r", shape=(times * len(X), FEATURES))
            learner.predict(mapped[:1000])
            before, (answer, most) = (
                _status("RssAnon"),
                _watched(lambda X=mapped: learner.predict(X)),
            )
            beyond = (most - before - answer.nbytes) / 2**20
            print(f"{len(mapped):12,} rows: {beyond:8.0f} MiB beside X and the answer")


def _watched(do: Callable[[], Any]) -> tuple[Any, int]:
    """Do something; return its answer and the most memory of this process's own meanwhile."""
    seen, done = [_status("RssAnon")], Event()

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(_status("RssAnon"))

    watcher = Thread(target=watch)
    watcher.start()
    answer = do()
    done.set()
    watcher.join()
    return answer, max(seen)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
