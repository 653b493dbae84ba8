import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline_eval.report import render_report, write_report
from uplift.errors import InputError

Table = dict[str, Any]


def estimate(value: float | None, lower: float | None, upper: float | None) -> Table:
    return {"value": value, "lower": lower, "upper": upper}


def policy(value: float, gain: Table, requests: float, **more: Any) -> Table:
    return {
        "dr": estimate(value, value - 0.001, value + 0.001),
        "snips": estimate(value, value - 0.002, value + 0.002),
        "gain": gain,
        "requests": estimate(requests, requests, requests),
        "n_effective": 4321.0,
        "verdict": "sound",
        "reasons": [],
        **more,
    }


CURVE = {
    "qini": estimate(0.0013, 0.0006, 0.002),
    "uplift_at": {"5": estimate(0.044, 0.026, 0.061), "10": estimate(0.023, 0.013, 0.033)},
    "curve": {
        "share": [0.0, 0.5, 1.0],
        "gain": [0.0, 0.003, 0.004],
        "lower": [0.0, 0.001, 0.002],
        "upper": [0.0, 0.005, 0.006],
    },
}


def rate(outcome: str, **more: Any) -> Table:
    keys = ("none", "random", "model", "model_without", "causal_gain")
    rates = {k: estimate(0.01 * i, 0.005 * i, 0.02 * i) for i, k in enumerate(keys, 1)}
    return {"outcome": outcome, **rates, "mixed_ratio": 10.6, **more}


def line(name: str) -> Table:
    return {
        "name": name,
        "requests": [0.0, 0.02, 0.2],
        "gain": [0.0, 0.001, 0.0015],
        "lower": [0.0, 0.0, 0.0005],
        "upper": [0.0, 0.002, 0.0025],
    }


@pytest.fixture
def feed() -> Table:
    """A simulated feed: one arm, pages, windows, horizons, truth."""
    saving = {
        "against": "fixed",
        "reference_requests": 0.11,
        "requests": 0.0105,
        "of_extra": estimate(0.904, 0.117, 1.0),
        "of_all": estimate(0.385, 0.05, 0.427),
    }
    value = {
        "plan": policy(
            0.00988,
            estimate(0.000952, 0.000238, 0.001666),
            0.0182,
            gain_per_request=estimate(0.0522, 0.0133, 0.0912),
            true=0.0094,
        ),
        "never": policy(0.0089, estimate(0.0, 0.0, 0.0), 0.0, true=0.0088),
        "always": policy(0.0144, estimate(0.0054, 0.0034, 0.0074), 1.0),
        "random": policy(
            0.009,
            estimate(0.000101, 0.000064, 0.000138),
            0.0185,
            plan_advantage=estimate(0.000851, 0.000137, 0.001565),
        ),
        "fixed": policy(
            0.0093,
            estimate(0.000383, -0.000282, 0.001048),
            0.11,
            plan_advantage=estimate(0.000569, -0.000112, 0.00125),
        ),
    }
    prices = [
        {"window": 3600.0 * h, "price": 0.01 + 0.001 * h, "capacity": 30.0, "spend": 26.0}
        for h in range(24)
    ]
    return {
        "log": {
            "rows": 233889,
            "users": 10644,
            "sessions": 18462,
            "page_requests": 34526,
            "primary": "purchase_10",
            "arms": [
                {"name": "none", "rows": 194397, "share": 0.831},
                {"name": "request", "rows": 39492, "share": 0.169},
            ],
            "checks": [{"name": "leak", "verdict": "sound", "sentence": "Nothing tells."}],
            "effect": {"purchase_10": estimate(0.00447, 0.00327, 0.00567)},
        },
        "model": {"learner": "s", "rounds": {"outcome": 26}, **CURVE},
        "plan": {
            "budget": {"kind": "qps_share", "amount": 0.125, "traffic_share": 0.15},
            "limits": {"per_page": 2, "min_gap": 10},
            "spend": 631.0,
            "gain": 11.57,
            "upper_bound": 11.58,
            "gap": 2.8e-7,
            "iterations": 8,
            "reason": "gap reached",
            "decision_points": 34092,
            "more": {"budget": 0.1, "gain": 3.21},
            "budgets": [
                {"budget": b, "requests": 5000 * b, "gain": g, "marginal": 30.0}
                for b, g in ((0.0625, 8.0), (0.125, 11.57), (0.25, 14.0))
            ],
            "served": {
                "sessions": 0.123,
                "places": [
                    {"page": 0, "position": p, "points": 900, "requests": 20.0} for p in (0, 25)
                ],
            },
            "as_logged": 10.91,
            "feedback": estimate(1.09, 1.066, 1.112),
            "optimism": estimate(0.00021, 0.00005, 0.00037),
            "prices": prices,
        },
        "value": value,
        "saving_at_equal_effect": {"against_fixed": saving},
        "purchase_rates": [rate(f"purchase_{h}", horizon=h) for h in (5, 10)] + [rate("gmv_10")],
        "frontier": [line("plan"), line("purchase_probability")],
        "warnings": [],
        "versions": {"numpy": "2.4.6"},
        "seconds": {"fit": 1.58},
    }


@pytest.fixture
def trial(feed: Table) -> Table:
    """A trial with two arms, one window, no pages, no horizons, nothing fixed."""
    report = copy.deepcopy(feed)
    del report["log"]["page_requests"]
    report["log"]["primary"] = "visit"
    report["log"]["effect"] = {"visit": report["log"]["effect"].pop("purchase_10")}
    names = ("none", "mens", "womens")
    report["log"]["arms"] = [{"name": n, "rows": 21306, "share": 0.333} for n in names]
    report["model"]["arms"] = dict.fromkeys(names[1:], CURVE)
    report["plan"]["prices"] = [{"window": 0.0, "price": 0.101, "capacity": None, "spend": 631.0}]
    report["plan"]["limits"] = {"min_gap": 0}
    report["plan"]["budget"] = {"kind": "share", "amount": 0.3}
    del report["plan"]["served"], report["plan"]["budgets"]
    del report["value"]["fixed"], report["value"]["always"]
    saving = report["saving_at_equal_effect"].pop("against_fixed")
    del saving["of_all"]
    report["saving_at_equal_effect"]["against_random"] = saving | {
        "against": "random",
        "of_extra": estimate(0.374, None, 0.591),
    }
    report["purchase_rates"] = [rate("visit")]
    return report


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def text_of(page: str) -> str:
    """What a reader sees, without the style and with plain spaces."""
    parser = _Text()
    parser.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    return " ".join(" ".join(parser.parts).replace("\N{NO-BREAK SPACE}", " ").split())


def tiles(page: str) -> str:
    return text_of(page[page.index('<div class="tiles">') : page.index("<section>")])


def summary(page: str) -> str:
    found = re.search(r'<p class="summary.*?</p>', page, flags=re.S)
    assert found
    return text_of(found[0])


class TestFeed:
    @pytest.mark.usefixtures("undrawn")
    def test_tiles_show_the_dictionary(self, feed: Table) -> None:
        shown = tiles(render_report(feed))
        for number in ("0.95 [0.24, 1.67]", "52.2 [13.3, 91.2]", "90.4 % [11.7, 100.0]"):
            assert number in shown
        assert "38.5 % [5.0, 42.7] of all requests, page requests included" in shown
        assert "simulated truth 0.6" in shown
        assert "sound" in shown

    @pytest.mark.usefixtures("undrawn")
    def test_summary_says_what_was_decided(self, feed: Table) -> None:
        words = summary(render_report(feed))
        for part in (
            "233,889 decision points",
            "S-learner",
            "631 extra requests",
            "18.5 per 1,000",
            "12.5 % of the mean page requests per second",
            "gains 0.95 [0.24, 1.67] purchase_10 per 1,000 decision points",
            "0.85 [0.14, 1.56] more than random",
            "90.4 % [11.7, 100.0] of the extra requests",
            "38.5 % [5.0, 42.7] of all requests",
            "evaluation sound",
        ):
            assert part in words

    @pytest.mark.usefixtures("undrawn")
    def test_uncertain_signs_are_said(self, feed: Table) -> None:
        assert "not distinguishable from 0: fixed insertion" in summary(render_report(feed))
        feed["value"]["plan"]["gain"]["lower"] = -0.0001
        page = render_report(feed)
        assert "never requesting, which is not distinguishable from 0" in summary(page)
        assert "not distinguishable from 0" in tiles(page)

    @pytest.mark.usefixtures("undrawn")
    def test_a_loss_is_called_one(self, feed: Table) -> None:
        feed["value"]["plan"]["gain"] = estimate(-0.002, -0.003, -0.001)
        assert "it loses" in summary(render_report(feed))

    def test_figures_are_there(self, feed: Table) -> None:
        page = render_report(feed)
        for name in ("qini", "forest", "frontier", "rates", "prices", "budget", "served"):
            assert f'id="{name}-figure_1"' in page

    def test_ids_are_unique(self, feed: Table) -> None:
        ids = re.findall(r'\bid="([^"]+)"', render_report(feed))
        assert len(set(ids)) == len(ids)

    @pytest.mark.usefixtures("undrawn")
    def test_plan_in_words(self, feed: Table) -> None:
        words = text_of(render_report(feed))
        assert "at most 2 requests a page and at least 10 slots apart" in words
        assert "gap below 0.01 %" in words
        assert "8 iterations: gap reached" in words

    @pytest.mark.usefixtures("undrawn")
    def test_rule_is_held_against_hindsight(self, feed: Table) -> None:
        assert "and gains 94.3 % of that on the same sessions" in text_of(render_report(feed))

    @pytest.mark.usefixtures("undrawn")
    def test_more_budget_and_who_is_served_in_words(self, feed: Table) -> None:
        words = text_of(render_report(feed))
        assert "10.0 % of the mean page requests per second more would gain 3.21" in words
        assert "requests at least once in 12.3 % of them" in words
        feed["plan"] |= {"budget": {"kind": "qps", "amount": 20_000.0}}
        feed["plan"]["more"] = {"budget": 1000.0, "gain": 3.21}
        words = text_of(render_report(feed))
        assert "1,000 extra requests per second more would gain 3.21 purchase_10 more" in words

    @pytest.mark.usefixtures("undrawn")
    def test_feedback_in_words(self, feed: Table) -> None:
        words = text_of(render_report(feed))
        assert "1.09 [1.07, 1.11] times that along the logged sessions; prices are set" in words
        feed["plan"]["feedback"] = estimate(1.02, 0.97, 1.07)
        words = text_of(render_report(feed))
        assert "which is not distinguishable from 1; prices leave it out." in words

    @pytest.mark.usefixtures("undrawn")
    def test_optimism_in_words(self, feed: Table) -> None:
        sentence = "promised minus off-policy gain is 0.210 [0.050, 0.370] purchase_10 per 1,000"
        words = text_of(render_report(feed))
        assert f"{sentence} evaluated decision points." in words
        feed["plan"]["optimism"]["lower"] = -0.0001
        words = text_of(render_report(feed))
        assert "evaluated decision points, which is not distinguishable from 0." in words

    @pytest.mark.usefixtures("undrawn")
    def test_doubtful_plan_gives_its_reasons(self, feed: Table) -> None:
        feed["value"]["plan"] |= {"verdict": "doubtful", "reasons": ["Thin overlap: few rows."]}
        assert "doubt these numbers. Thin overlap: few rows." in summary(render_report(feed))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out, where a test is about words."""
    monkeypatch.setattr("offline_eval.report._figures", lambda report, refused: {})


class TestTrial:
    def test_outcome_and_arms_by_name(self, trial: Table) -> None:
        words = text_of(render_report(trial))
        for part in ("visit per 1,000 decision points", "mens", "womens"):
            assert part in words
        assert "purchase_10" not in words

    def test_one_window_is_a_sentence(self, trial: Table) -> None:
        page = render_report(trial)
        assert 'id="prices-' not in page
        assert "more than 101 visit per 1,000 requests" in text_of(page)
        assert "Limits: none" in text_of(page)

    def test_no_horizons_no_rates_plot(self, trial: Table) -> None:
        assert 'id="rates-' not in render_report(trial)

    @pytest.mark.usefixtures("undrawn")
    def test_saving_against_random_without_pages(self, trial: Table) -> None:
        page = render_report(trial)
        assert "37.4 % [−∞, 59.1] of the extra requests are saved." in summary(page)
        assert "This saving is not distinguishable from 0." in summary(page)
        assert "page requests" not in text_of(page)

    @pytest.mark.usefixtures("undrawn")
    def test_saving_that_cannot_be_shown(self, trial: Table) -> None:
        saving = trial["saving_at_equal_effect"]["against_random"]
        saving |= {"requests": None, "of_extra": estimate(None, None, 0.1)}
        page = render_report(trial)
        assert "no saving can be shown" in summary(page)
        assert "cannot be shown" in tiles(page)


class TestRefusal:
    @pytest.fixture
    def refused(self, feed: Table) -> Table:
        reasons = ["Lack of overlap: one row carries all."]
        feed["value"]["plan"] = {"n_effective": 7.0, "verdict": "refused", "reasons": reasons}
        return feed

    def test_is_said_first(self, refused: Table) -> None:
        assert summary(render_report(refused)).startswith("Refused: ")
        assert "Lack of overlap: one row carries all." in summary(render_report(refused))

    def test_shows_no_number(self, refused: Table) -> None:
        page = render_report(refused)
        assert not re.search(r"\d", tiles(page))
        for number in ("0.95", "90.4", "38.5"):
            assert number not in text_of(page)
        row = re.search(r'<tr class="mine">.*?</tr>', page, flags=re.S)
        assert row
        assert text_of(row[0]) == "Plan Lack of overlap: one row carries all. refused"

    def test_nothing_rests_on_a_refused_plan(self, refused: Table) -> None:
        page = render_report(refused)
        assert 'id="frontier-' not in page
        assert 'id="rates-' not in page
        assert "the log cannot answer for the plan" in page

    def test_refused_reference_saves_nothing(self, feed: Table) -> None:
        feed["value"]["fixed"] = {"verdict": "refused", "reasons": ["No overlap."]}
        page = render_report(feed)
        assert "90.4" not in text_of(page)
        assert "No overlap." in text_of(page)


def size(scale: float) -> Table:
    bins = [
        {"points": 500, "share": 0.1, "predicted": scale * p, "effect": estimate(p, p - 1, p + 1)}
        for p in (0.001, 0.004, 0.009)
    ]
    return {
        "bins": bins,
        "slope": estimate(0.512 / scale, 0.211, 0.813),
        "intercept": estimate(0.001, -0.001, 0.003),
        "error": estimate(0.00217 * scale, 0.0, 0.00334),
    }


def candidate(name: str, weight: float, **settings: float) -> Table:
    return {
        "name": name,
        "settings": settings,
        "r_gain": estimate(1.5e-6, 1.1e-6, 1.9e-6),
        "dr_gain": estimate(2.5e-6, -1.2e-6, 6.2e-6),
        "behind": estimate(3e-7, 1e-7, 5e-7),
        "qini": estimate(0.00141, 0.0005, 0.0023),
        "weight": weight,
        "seconds": 4.25,
    }


class TestSize:
    @pytest.fixture
    def sized(self, feed: Table) -> Table:
        arms = {"request": {"before": size(1.0), "after": size(0.5)}}
        feed["model"]["calibration"] = {"method": "isotonic", "arms": arms}
        return feed

    @pytest.mark.usefixtures("undrawn")
    def test_before_and_after_stand_in_the_table(self, sized: Table) -> None:
        words = text_of(render_report(sized))
        assert "Size of the uplift" in words
        assert "isotonic Slope Calibration error" in words
        assert "before 0.512 [0.211, 0.813] 2.17 [0.00, 3.34]" in words
        assert "after 1.02" in words

    @pytest.mark.usefixtures("undrawn")
    def test_arms_are_named_where_there_are_several(self, sized: Table) -> None:
        arms = sized["model"]["calibration"]["arms"]
        assert "before, request" not in text_of(render_report(sized))
        arms["<dear>"] = arms["request"]
        words = text_of(render_report(sized))
        assert "before, request" in words
        assert "after, <dear>" in words

    def test_figure_is_there_with_ids_of_its_own(self, sized: Table) -> None:
        page = render_report(sized)
        assert 'id="calibration-figure_1"' in page
        ids = re.findall(r'\bid="([^"]+)"', page)
        assert len(set(ids)) == len(ids)

    @pytest.mark.usefixtures("undrawn")
    @pytest.mark.parametrize("lost", ["calibration", "before", "after", "slope"])
    def test_what_is_absent_is_left_out(self, sized: Table, lost: str) -> None:
        arms = sized["model"]["calibration"]["arms"]
        for table in (sized["model"], arms["request"], arms["request"].get("after", {})):
            table.pop(lost, None)
        page = render_report(sized)
        assert "</html>" in page
        assert ("Size of the uplift" in page) == (lost == "slope")

    def test_a_slope_that_is_unknown_is_shown_as_such(self, sized: Table) -> None:
        """Predictions that are all the same have none: NaN, which is None in report.json."""
        before = sized["model"]["calibration"]["arms"]["request"]["before"]
        before |= {"slope": estimate(None, None, None), "bins": before["bins"][:1]}
        assert "Size of the uplift" in render_report(sized)


@pytest.mark.usefixtures("undrawn")
class TestCandidates:
    @pytest.fixture
    def tried(self, feed: Table) -> Table:
        feed["model"] |= {
            "learner": "auto",
            "candidates": [
                candidate("proportional", 0.0),
                candidate("s-2", 1.0, max_depth=6, learning_rate=0.051),
                candidate("stack", 0.0),
            ],
        }
        return feed

    def test_all_stand_in_the_table_and_the_kept_one_is_marked(self, tried: Table) -> None:
        page = render_report(tried)
        words = text_of(page)
        assert "Candidates Learner Weight" in words
        assert "proportional – 1.50 [1.10, 1.90] 2.50 [−1.20, 6.20] 0.300 [0.100, 0.500]" in words
        assert "1.41 [0.50, 2.30] 4.25" in words
        assert "max depth 6, learning rate 0.0510" in words
        marked = re.findall(r'<tr class="mine">.*?</tr>', page, flags=re.S)
        assert [text_of(row).split()[0] for row in marked] == ["s-2", "Plan"]

    def test_the_learner_is_named(self, tried: Table) -> None:
        assert "The auto learner predicts what a request gains." in summary(render_report(tried))

    def test_of_several_that_are_kept_each_is_marked(self, tried: Table) -> None:
        for row, weight in zip(tried["model"]["candidates"], (0.4, 0.7, 0.0), strict=True):
            row["weight"] = weight
        page = render_report(tried)
        assert page.count('<tr class="mine">') == 2 + 1  # and the plan
        assert "s-2 max depth 6, learning rate 0.0510 0.700" in text_of(page)

    def test_any_key_of_a_candidate(self, tried: Table) -> None:
        for key in candidate("s", 0.0):
            less = copy.deepcopy(tried)
            del less["model"]["candidates"][1][key]
            assert "Candidates Learner" in text_of(render_report(less))

    def test_without_candidates_there_is_no_table(self, feed: Table) -> None:
        assert "Candidates" not in text_of(render_report(feed))


SECTIONS = {
    "log": "Log health",
    "model": "<h2>Model",
    "plan": "<h2>Plan",
    "value": "<h2>Policies",
    "purchase_rates": "<h2>Rates",
    "versions": "Versions",
    "seconds": "Seconds",
}


class TestDrawn:
    @pytest.mark.parametrize("path", [("model", "curve"), ("plan", "prices"), ("value", "never")])
    def test_what_is_not_there_is_not_drawn(self, feed: Table, path: tuple[str, str]) -> None:
        del feed[path[0]][path[1]]
        assert "</html>" in render_report(feed)


@pytest.mark.usefixtures("undrawn")
class TestAbsent:
    @pytest.mark.parametrize(("key", "title"), SECTIONS.items())
    def test_absent_key_leaves_its_section_out(self, feed: Table, key: str, title: str) -> None:
        assert title in render_report(feed)
        del feed[key]
        assert title not in render_report(feed)

    def test_frontier_and_savings(self, feed: Table) -> None:
        del feed["frontier"], feed["saving_at_equal_effect"]
        assert "Gain against requests" not in render_report(feed)

    @pytest.mark.parametrize("part", ["log", "model", "plan", "value"])
    def test_any_key_of_any_part(self, feed: Table, part: str) -> None:
        for key in feed[part]:
            less = copy.deepcopy(feed)
            del less[part][key]
            assert "</html>" in render_report(less)

    def test_any_key_of_the_plans_value(self, feed: Table) -> None:
        for key in feed["value"]["plan"]:
            less = copy.deepcopy(feed)
            del less["value"]["plan"][key]
            assert "</html>" in render_report(less)

    def test_nothing_at_all(self) -> None:
        assert "None." in text_of(render_report({}))


class TestPage:
    def test_escapes_names_and_warnings(self, trial: Table) -> None:
        hostile = "<script>alert('x')</script>"
        trial["log"]["arms"][1]["name"] = hostile
        trial["model"]["arms"][hostile] = trial["model"]["arms"].pop("mens")
        trial["value"][f"always_{hostile}"] = trial["value"]["never"]
        trial["warnings"] = [f"mind {hostile}"]
        page = render_report(trial)
        assert "<script" not in page
        assert f"mind {hostile}" in text_of(page)

    @pytest.mark.parametrize("kind", ["feed", "trial"])
    def test_needs_nothing_from_outside(self, kind: str, request: pytest.FixtureRequest) -> None:
        page = render_report(request.getfixturevalue(kind))
        assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)
        assert not re.search(r"url\(\s*[\"']?https?:|@import", page)
        assert "<script" not in page
        assert not re.search(r"\son\w+=", page)

    def test_same_report_same_bytes(self, feed: Table) -> None:
        assert render_report(feed) == render_report(copy.deepcopy(feed))

    def test_leaves_the_dictionary_alone(self, feed: Table) -> None:
        before = copy.deepcopy(feed)
        render_report(feed)
        assert feed == before


class TestWriteReport:
    def test_both_files_from_one_dictionary(self, feed: Table, tmp_path: Path) -> None:
        write_report(feed, tmp_path / "new" / "folder")
        folder = tmp_path / "new" / "folder"
        assert json.loads((folder / "report.json").read_text()) == feed
        assert (folder / "report.html").read_text("utf-8") == render_report(feed)
        assert sorted(p.name for p in folder.iterdir()) == ["report.html", "report.json"]

    def test_json_holds_no_nan(self, feed: Table, tmp_path: Path) -> None:
        feed["purchase_rates"][0]["mixed_ratio"] = float("nan")
        feed["plan"]["prices"][0]["capacity"] = np.inf
        write_report(feed, tmp_path)
        text = (tmp_path / "report.json").read_text()
        assert "NaN" not in text
        assert "Infinity" not in text
        assert json.loads(text)["plan"]["prices"][0]["capacity"] is None

    def test_unwritable_folder_is_bad_input(self, feed: Table, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot write"):
            write_report(feed, tmp_path / "file")


@pytest.mark.parametrize(
    ("verdict", "reasons"), [("published", []), ("held", ["Too dear.", "A leak."])]
)
def test_the_gate_is_told(verdict, reasons):
    page = render_report(
        {"value": {"plan": {"verdict": "sound"}}, "gate": {"verdict": verdict, "reasons": reasons}}
    )
    assert verdict in page
    assert " ".join(reasons) in page
