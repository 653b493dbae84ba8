import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest

from offline_eval.plots import (
    budget_plot,
    calibration_plot,
    deciles_plot,
    dependence_plot,
    forest_plot,
    frontier_plot,
    importance_plot,
    price_plot,
    qini_plot,
    rates_plot,
    served_plot,
    weights_plot,
)
from offline_eval.plots.numbers import (
    around_zero,
    count,
    error_bars,
    percent,
    policy_name,
    quantity,
    shown,
    shown_percent,
)

Table = dict[str, Any]


def estimate(value: float | None, lower: float | None, upper: float | None) -> Table:
    return {"value": value, "lower": lower, "upper": upper}


CURVE = {
    "share": [0.0, 0.5, 1.0],
    "gain": [0.0, 0.003, 0.004],
    "lower": [0.0, 0.001, None],
    "upper": [0.0, 0.005, None],
}
VALUE = {
    "plan": {
        "dr": estimate(0.0099, 0.0086, 0.0112),
        "ips": estimate(0.0098, None, None),
        "gain": estimate(0.00095, 0.00024, 0.0017),
        "requests": estimate(0.018, 0.017, 0.019),
        "true": 0.0094,
        "verdict": "sound",
    },
    "never": {
        "dr": estimate(0.0089, 0.0079, 0.01),
        "gain": estimate(0.0, 0.0, 0.0),
        "requests": estimate(0.0, 0.0, 0.0),
    },
    "fixed": {
        "gain": estimate(0.0004, -0.0003, 0.001),
        "requests": estimate(0.11, 0.109, 0.111),
    },
    "always_$a<b>$": {
        "gain": estimate(0.005, 0.003, 0.007),
        "requests": estimate(1.0, 1.0, 1.0),
    },
    "random": {"verdict": "refused", "reasons": ["Lack of overlap."]},
}
FRONTIERS = [
    {
        "name": name,
        "requests": [0.0, 0.02, 0.2],
        "gain": [0.0, top / 2, top],
        "lower": [0.0, 0.0, None],
        "upper": [0.0, top, 2 * top],
    }
    for name, top in (("plan", 0.0015), ("purchase_probability", 0.0011))
]
SAVING = {
    "against": "fixed",
    "reference_requests": 0.11,
    "requests": 0.011,
    "of_extra": estimate(0.9, 0.1, 1.0),
}
PRICES = [
    {"window": 3600.0 * hour, "price": 0.01 * hour, "capacity": capacity, "spend": 5.0}
    for hour, capacity in enumerate((6.0, None, 7.0))
]
BUDGETS = [
    {"budget": b, "requests": 10 * b, "gain": g, "marginal": m}
    for b, g, m in ((5.0, 3.0, 0.4), (10.0, 4.5, 0.2), (20.0, 5.0, 0.0))
]
WEIGHTS = [
    {"lower": 0.0, "upper": 0.0, "rows": 0.5, "weight": 0.0},
    {"lower": 1.0, "upper": 2.0, "rows": 0.5, "weight": 1.0},
]
PLACES = [
    {"page": page, "position": 10 * k, "points": 100, "requests": 5.0 * k}
    for page in range(2)
    for k in range(3)
]
RATES = [
    {key: estimate(0.01, 0.005, None) for key in ("none", "random", "model", "model_without")}
    | {"horizon": horizon}
    for horizon in (5, 10)
]
DECILES = [
    {"decile": k, "points": 9, "predicted": 0.01, "effect": estimate(0.02, 0.01, None), "truth": t}
    for k, t in ((1, 0.02), (2, None))
]
IMPORTANCE = [
    {"feature": name} | {key: estimate(0.01, None, 0.02) for key in ("shap", "qini", "loss")}
    for name in ("f_$a<b>$", "c_kind")
]
BAND = {"mean": [0.01, 0.02, 0.01], "low": [0.0, 0.0, 0.0], "high": [0.02, 0.03, 0.02]}
DEPENDENCE = [
    {"feature": "f_$a<b>$", "values": [1.0, 2.0, None], "labels": None, **BAND},
    {"feature": "c_kind", "values": [0, 1, None], "labels": ["$<x>$", "y" * 40, "missing"], **BAND},
    {"feature": "f_never", "values": [None], **{key: column[:1] for key, column in BAND.items()}},
    {"feature": "f_constant", "values": [1.0], **{key: c[:1] for key, c in BAND.items()}},
]
REPORT = {
    "bins": [
        {"predicted": -0.001, "effect": estimate(0.0004, None, 0.001)},
        {"predicted": 0.004, "effect": estimate(0.002, 0.001, 0.003)},
    ]
}
CHANGE = {"before": REPORT, "after": REPORT}

PLOTS = {
    "budget": lambda: budget_plot(BUDGETS, 10.0, "$<QPS>$", 500, "buy"),
    "calibration": lambda: calibration_plot({"request": CHANGE, "$b<i>$": CHANGE}, "buy"),
    "deciles": lambda: deciles_plot(DECILES, "buy"),
    "importance": lambda: importance_plot(IMPORTANCE),
    "dependence": lambda: dependence_plot(DEPENDENCE, "buy"),
    "qini": lambda: qini_plot({"request": {"curve": CURVE}, "$b<i>$": {"curve": CURVE}}, "buy"),
    "forest": lambda: forest_plot(VALUE, "buy"),
    "frontier": lambda: frontier_plot(FRONTIERS, VALUE, SAVING, "buy"),
    "prices": lambda: price_plot(PRICES, "buy"),
    "rates": lambda: rates_plot(RATES),
    "served": lambda: served_plot(PLACES),
    "weights": lambda: weights_plot(WEIGHTS),
}


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in ElementTree.fromstring(svg).iter() if "text" in e.tag]


@pytest.mark.parametrize("name", PLOTS)
class TestEveryPlot:
    def test_is_well_formed_and_says_what_it_is(self, name: str) -> None:
        root = ElementTree.fromstring(PLOTS[name]())
        assert root.tag.endswith("svg")
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]

    def test_is_the_same_every_time(self, name: str) -> None:
        assert PLOTS[name]() == PLOTS[name]()

    def test_has_ids_of_its_own_that_resolve(self, name: str) -> None:
        svg = PLOTS[name]()
        root = ElementTree.fromstring(svg)
        ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
        assert len(set(ids)) == len(ids)
        assert all(i.startswith(f"{name}-") for i in ids)
        links = [v[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert set(links) <= set(ids)

    def test_keeps_text_as_text_with_units(self, name: str) -> None:
        words = " ".join(texts(PLOTS[name]()))
        assert "1,000" in words

    def test_carries_no_date(self, name: str) -> None:
        svg = PLOTS[name]()
        assert "<metadata" not in svg
        assert "DOCTYPE" not in svg


class TestQini:
    def test_hostile_arm_name_is_text(self) -> None:
        words = " ".join(texts(PLOTS["qini"]()))
        assert "$b<i>$, best first" in words


class TestCalibration:
    def test_names_the_arms_where_there_are_several(self) -> None:
        assert "$b<i>$" in texts(PLOTS["calibration"]())
        assert "request" not in texts(calibration_plot({"request": CHANGE}, "buy"))

    def test_shows_what_there_is(self) -> None:
        words = texts(calibration_plot({"request": {"after": REPORT}}, "buy"))
        assert "after calibration" in words
        assert "before calibration" not in words


class TestFrontier:
    def test_second_panel_only_where_a_policy_is_far_out(self) -> None:
        near = {name: VALUE[name] for name in ("plan", "never", "fixed")}
        lines = [f | {"requests": [0.0, 0.02, 0.14]} for f in FRONTIERS]
        assert "Whole range" in texts(PLOTS["frontier"]())
        assert "Whole range" not in texts(frontier_plot(lines, near, SAVING, "buy"))

    def test_arrow_says_the_share(self) -> None:
        assert "90.0\N{NO-BREAK SPACE}% fewer requests" in texts(PLOTS["frontier"]())

    @pytest.mark.parametrize(
        "saving", [None, SAVING | {"requests": None}, SAVING | {"against": "random"}]
    )
    def test_no_arrow_without_a_saving(self, saving: Table | None) -> None:
        assert "fewer" not in " ".join(texts(frontier_plot(FRONTIERS, VALUE, saving, "buy")))

    def test_refused_policy_is_no_point(self) -> None:
        assert "Random, same rate" not in texts(PLOTS["frontier"]())


class TestForest:
    def test_refused_policy_is_named_and_has_no_mark(self) -> None:
        words = texts(PLOTS["forest"]())
        assert "refused" in words
        assert "Random, same rate" in words

    def test_truth_only_where_it_is_known(self) -> None:
        known = {"plan": {k: v for k, v in VALUE["plan"].items() if k != "true"}}
        assert "truth (simulated)" in texts(PLOTS["forest"]())
        assert "truth (simulated)" not in texts(forest_plot(known, "buy"))

    def test_all_refused(self) -> None:
        ElementTree.fromstring(forest_plot({"plan": VALUE["random"]}, "buy"))


class TestPrices:
    def test_capacity_line_only_where_there_is_one(self) -> None:
        free = [row | {"capacity": None} for row in PRICES]
        assert "capacity" in texts(PLOTS["prices"]())
        assert "capacity" not in texts(price_plot(free, "buy"))

    def test_rule_only_where_it_is_known(self) -> None:
        known = [row | {"rule_spend": 4.0} for row in PRICES]
        assert {"rule", "hindsight"} <= set(texts(price_plot(known, "buy")))
        assert "rule" not in texts(PLOTS["prices"]())


class TestServed:
    def test_last_page_stands_for_those_after_it(self) -> None:
        words = texts(PLOTS["served"]())
        assert "page 0" in words
        assert "page 1 and later" in words
        assert "page 0" in texts(served_plot(PLACES[:3]))


class TestDeciles:
    def test_truth_only_where_it_is_known(self) -> None:
        known = [{k: v for k, v in row.items() if k != "truth"} for row in DECILES]
        assert "truth (simulated)" in texts(PLOTS["deciles"]())
        assert "truth (simulated)" not in texts(deciles_plot(known, "buy"))


class TestImportance:
    def test_only_the_most_important_features_are_drawn(self) -> None:
        words = texts(importance_plot(IMPORTANCE, most=1))
        assert "f_$a<b>$" in words
        assert "c_kind" not in words


class TestDependence:
    def test_missing_is_named_and_long_categories_are_cut(self) -> None:
        words = texts(PLOTS["dependence"]())
        assert words.count("missing") == 3
        assert "$<x>$" in words
        assert "y" * 13 + "…" in words

    def test_a_line_needs_no_missing(self) -> None:
        assert "missing" not in texts(dependence_plot(DEPENDENCE[3:], "buy"))


class TestNumbers:
    def test_separators_and_minus(self) -> None:
        assert count(1234.4) == "1,234"
        assert count(-1234) == "−1,234"

    @pytest.mark.parametrize(
        ("number", "text"),
        [(0.125, "0.125"), (12, "12"), (1234.56, "1,235"), (None, "n/a"), (-0.001234, "−0.00123")],
    )
    def test_three_digits(self, number: float | None, text: str) -> None:
        assert quantity(number) == text

    @pytest.mark.parametrize(
        ("share", "text"),
        [(0.1234, "12.3 %"), (0.0, "0 %"), (3e-7, "below 0.01 %"), (2e-4, "below 0.1 %")],
    )
    def test_percent(self, share: float, text: str) -> None:
        assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == text

    def test_percent_of_nothing(self) -> None:
        assert percent(None) == "n/a"
        assert shown_percent(estimate(None, None, 1.0)).value == "n/a"

    def test_value_and_ends_share_decimals(self) -> None:
        assert str(shown(estimate(0.000952, 0.000238, 0.001666), 1000)) == "0.95 [0.24, 1.67]"

    def test_unbounded_ends(self) -> None:
        assert str(shown(estimate(1.5, None, None))) == "1.50 [−∞, ∞]"

    def test_exact_needs_no_interval(self) -> None:
        assert shown(estimate(0.3, 0.3 - 1e-15, 0.3 + 1e-15), 1000) == ("300", "")

    def test_no_minus_zero(self) -> None:
        assert "−0.00" not in str(shown(estimate(-0.0001, -0.0004, 1.0)))

    def test_no_value(self) -> None:
        assert str(shown(estimate(None, None, 1.0))) == "n/a"

    def test_sign_is_known_or_not(self) -> None:
        assert around_zero(estimate(1.0, None, 2.0))
        assert not around_zero(estimate(1.0, 0.5, None))

    def test_bars_are_never_negative(self) -> None:
        assert error_bars(estimate(1.0, 1.1, None)).tolist() == [[0.0], [0.0]]

    def test_policy_names(self) -> None:
        assert policy_name("always_mens") == "Always mens"
        assert policy_name("my_rule") == "my rule"


def test_importing_loads_no_matplotlib() -> None:
    code = (
        "import sys, offline_eval.plots, offline_eval.report;"
        "sys.exit(any(m in sys.modules for m in ('matplotlib', 'jinja2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_plots_leave_the_global_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    PLOTS["rates"]()
    assert dict(matplotlib.rcParams) == before
