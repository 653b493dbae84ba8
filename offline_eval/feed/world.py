"""Users and their sessions: who comes, when, and what can be seen of them."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from offline_eval.feed.params import FeedParams
from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.hashing import hash_uniform
from uplift.log import DAY_SECONDS

__all__ = ["CATEGORIES", "DEVICES", "Sessions", "draw_sessions", "session_traits", "users_of"]

DEVICES = ("android", "iphone", "tablet")
CATEGORIES = tuple(f"category_{i:02d}" for i in range(20))
#: Midnight (UTC) of the first day, microseconds.
FIRST_DAY = int(np.datetime64("2026-01-05T00:00:00", "us").astype(np.int64))


class Sessions(NamedTuple):
    """What is fixed while a session lasts; every array is (n,).

    Attributes
    ----------
    session_id, user_id : identifiers; they hold the seed, so no two seeds share one
    key : start of the session's random numbers
    start, pace : first moment and length of a slot, microseconds
    buy, heat, cool, drift, annoy, leave, price : the user's own rates
    """

    session_id: IntArray
    user_id: IntArray
    key: np.ndarray
    start: IntArray
    pace: IntArray
    buy: FloatArray
    heat: FloatArray
    cool: FloatArray
    drift: FloatArray
    annoy: FloatArray
    leave: FloatArray
    price: FloatArray


def users_of(n_sessions: int, seed: int, params: FeedParams) -> IntArray:
    """(n,) user of each session; users come 1 + Poisson times."""
    extra = max(params.sessions_per_user - 1, 0.0)
    counts = 1 + np.random.default_rng(seed).poisson(extra, n_sessions)
    return np.repeat(np.arange(n_sessions), counts)[:n_sessions] + (seed << 32)


def draw_sessions(
    session_id: IntArray, user_id: IntArray, rate: float, days: int, params: FeedParams
) -> Sessions:
    """Draw what is fixed in each session; the same identifiers always give the same."""
    hour, start = _arrivals(session_id, days, params)
    evening = 1 + params.evening * np.cos((hour - params.peak_hour) * np.pi / 12)
    factor = np.minimum(_log_normal(user_id, 1, params.buy_spread), params.buy_cap)
    disturbed = _disturbed(user_id, params)
    return Sessions(
        session_id=session_id,
        user_id=user_id,
        key=(hash_uniform(session_id, 10) * 2.0**53).astype(np.uint64) << np.uint64(11),
        start=start,
        pace=(2e6 + 2e6 * hash_uniform(session_id, 11)).astype(np.int64),
        buy=rate * params.buy * factor * evening,
        heat=np.minimum(params.heat * _log_normal(user_id, 2, params.heat_spread), 1.0),
        cool=np.full(len(session_id), params.cool),
        drift=np.minimum(_drift(session_id, user_id, params), 1.0),
        annoy=np.where(disturbed, params.annoy, 0.0),
        leave=params.leave * np.clip(_log_normal(user_id, 4, params.leave_spread), 0.3, 5.0),
        price=params.price * _log_normal(user_id, 5, 0.5),
    )


def session_traits(sessions: Sessions, params: FeedParams) -> dict[str, np.ndarray]:
    """Features that are fixed while a session lasts: noisy views of the user's own rates."""
    ids, user = sessions.session_id, sessions.user_id
    hour, _ = _arrivals(ids, 1, params)
    habit = np.minimum(_log_normal(user, 1, params.buy_spread), params.buy_cap)
    complaints = _geometric(user, 21, np.where(sessions.annoy > 0, 2.0, 0.1))
    complaints[hash_uniform(user, 22) < 0.15] = np.nan  # nobody ever asked these users
    floats = {
        "f_past_purchases": _geometric(user, 20, 8 * habit),
        "f_past_complaints": complaints,
        "f_tenure": 1000 * _tenure(user) * _log_normal(user, 23, 0.4),
        "f_price_level": np.log(sessions.price) + 0.4 * _normal(ids, 24),
        "f_hour_sin": np.sin(hour * np.pi / 12),
        "f_hour_cos": np.cos(hour * np.pi / 12),
        "f_noise_user": _normal(user, 25),
    }
    result = {name: values.astype(np.float32) for name, values in floats.items()}
    return result | {"c_device": _device(user), "c_category": _category(ids)}


def _arrivals(ids: IntArray, days: int, params: FeedParams) -> tuple[FloatArray, IntArray]:
    """Hour of the day and moment of each start, by inversion of the day's traffic."""
    grid = np.linspace(0, 24, 24 * 60 + 1)
    swell = ((1 + np.cos((grid - params.peak_hour) * np.pi / 12)) / 2) ** 3
    cumulative = np.cumsum(1 + (params.peak_ratio - 1) * swell)
    cumulative = (cumulative - cumulative[0]) / (cumulative[-1] - cumulative[0])
    hour = np.interp(hash_uniform(ids, 12), cumulative, grid)
    day = (hash_uniform(ids, 13) * days).astype(np.int64)
    seconds = day * DAY_SECONDS + hour * 3600
    return hour, FIRST_DAY + (seconds * 1e6).astype(np.int64)


def _disturbed(user: IntArray, params: FeedParams) -> BoolArray:
    """(n,) users whom extra requests disturb: more among the new and on small screens."""
    lean = 2 * (1 - _tenure(user)) * np.array([1.1, 0.9, 0.85])[_device(user)]
    mean_lean = 1.1 * 0.55 + 0.9 * 0.35 + 0.85 * 0.1
    chance = params.disturbed_share * lean / mean_lean
    disturbed: BoolArray = hash_uniform(user, 3) < chance
    return disturbed


def _drift(ids: IntArray, user: IntArray, params: FeedParams) -> FloatArray:
    """(n,) drift of intent: users browse some categories more restlessly than others."""
    restless = np.geomspace(0.5, 2.0, len(CATEGORIES))
    factor = (restless / restless.mean())[_category(ids)]
    drift: FloatArray = params.drift * factor * _log_normal(user, 6, params.drift_spread)
    return drift


def _tenure(user: IntArray) -> FloatArray:
    return hash_uniform(user, 7)


def _device(user: IntArray) -> np.ndarray:
    return np.searchsorted([0.55, 0.90], hash_uniform(user, 8), side="right").astype(np.int8)


def _category(ids: IntArray) -> np.ndarray:
    # A square, so that some categories are common and some rare.
    return (len(CATEGORIES) * hash_uniform(ids, 9) ** 1.5).astype(np.int8)


def _normal(ids: IntArray, stream: int) -> FloatArray:
    normal: FloatArray = ndtri(np.maximum(hash_uniform(ids, stream), 1e-16))
    return normal


def _log_normal(ids: IntArray, stream: int, spread: float) -> FloatArray:
    """(n,) factors of mean 1."""
    return np.exp(spread * _normal(ids, stream) - spread**2 / 2)


def _geometric(ids: IntArray, stream: int, mean: FloatArray) -> FloatArray:
    """(n,) counts 0, 1, ... with the given means."""
    u = np.maximum(hash_uniform(ids, stream), 1e-16)
    return np.floor(np.log(u) / np.log(mean / (1 + mean)))
