"""The forecast behind the pacer: the curve of gains, late reports, what a process counts."""

import numpy as np
import pytest

from policy.spend_forecast import GainCurve, SpendForecast

EDGES = np.geomspace(0.01, 10, 200)


def histogram(gain):
    return np.bincount(np.searchsorted(EDGES, gain, side="right"), minlength=len(EDGES) + 1) * 1.0


@pytest.fixture
def curve():
    gain = np.random.default_rng(0).exponential(1.0, 100_000)
    made = GainCurve(EDGES, 30.0)
    made.add(histogram(gain), 200_000, 1.0)
    return made


def test_the_curve_is_the_share_of_points_above_a_price(curve):
    price = np.array([0.02, 0.5, 1.0, 3.0])
    error = 4 * np.sqrt(0.5 * np.exp(-price) / 200_000) + 1e-3  # bins are 3.5 % wide
    assert (np.abs(curve.above(price) - 0.5 * np.exp(-price)) < error).all()
    assert curve.above([0.0, 11.0, np.inf]).tolist() == [0.5, 0.0, 0.0]


def test_price_and_share_are_each_others_inverse(curve):
    for price in (0.011, 0.3, 1.7, 4.0):
        assert curve.price_for(float(curve.above(price))) == pytest.approx(price, rel=1e-6)
    assert curve.price_for(0.5) == curve.price_for(2.0) == 0.0
    assert curve.price_for(0.499) == pytest.approx(EDGES[0], rel=0.2)
    assert EDGES[-3] < curve.price_for(0.0) <= EDGES[-1]


def test_the_curve_forgets_slowly_unless_it_is_another_one():
    rng = np.random.default_rng(1)
    made, gain = GainCurve(EDGES, 30.0), rng.exponential(1.0, (40, 10_000))
    for step in range(20):
        made.add(histogram(gain[step]), 10_000, 1.0)
    assert made._points > 10 * 10_000
    made.add(histogram(2 * gain[20]), 10_000, 1.0)
    assert made._points == 10_000
    assert made.above(2.0) == pytest.approx(np.exp(-1), abs=0.02)


def reported(forecast, steps, points, gain, price=1.0):
    for step in steps:
        forecast.begin(step, price, np.nan)
        counts = histogram(gain)
        forecast.observe(step, points, float(counts[EDGES.searchsorted(price) + 1 :].sum()), counts)


def late_by_a_minute(seconds, traffic, share):
    """Yield each second and its forecast demand; traffic and own share are functions of it."""
    counts = histogram(np.random.default_rng(3).exponential(1.0, 20_000))
    forecast = SpendForecast(EDGES, 1.0)
    for step in range(seconds):
        yield step, forecast.demand(step)
        forecast.begin(step, 1.0, np.nan)
        own = share(step) * traffic(step)
        forecast.count(step, own, own * np.exp(-1))
        if step >= 60:
            points = traffic(step - 60)
            forecast.observe(step - 60, points, points * np.exp(-1), counts * points / 20_000)


def test_what_a_process_counts_brings_a_late_forecast_up_to_date():
    def traffic(step):
        return 160_000 if step >= 120 else 20_000

    for step, demand in late_by_a_minute(240, traffic, lambda step: 0.02):
        if step > 70 and step != 120:
            assert demand == pytest.approx(traffic(step), rel=0.05)


def test_another_share_of_the_fleet_misleads_until_the_reports_tell():
    def share(step):
        return 0.03 if step >= 120 else 0.02

    for step, demand in late_by_a_minute(200, lambda step: 20_000, share):
        if 70 < step <= 120 or step > 181:
            assert demand == pytest.approx(20_000, rel=0.05)


def test_a_wrong_report_is_put_right_by_the_next_ones():
    gain = np.random.default_rng(4).exponential(1.0, 20_000)
    forecast = SpendForecast(EDGES, 1.0)
    reported(forecast, range(30), 20_000, gain)
    forecast.begin(30, 1.0, np.nan)
    forecast.observe(30, 2e9, 1e9, histogram(gain))
    assert forecast.demand(31) > 1e8
    reported(forecast, range(31, 36), 20_000, gain)
    assert forecast.demand(36) == pytest.approx(20_000, rel=0.1)
