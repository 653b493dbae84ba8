"""The report: one page that an analyst reads at a glance, and the same numbers as JSON."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from offline_eval.plots.budget import budget_plot
from offline_eval.plots.calibration import calibration_plot
from offline_eval.plots.forest import estimators_of, forest_plot
from offline_eval.plots.frontier import frontier_plot
from offline_eval.plots.numbers import (
    PER,
    around_zero,
    count,
    percent,
    policy_name,
    quantity,
    shown,
    shown_percent,
)
from offline_eval.plots.prices import price_plot
from offline_eval.plots.qini import qini_plot
from offline_eval.plots.rates import rates_plot
from offline_eval.plots.served import served_plot
from offline_eval.plots.weights import weights_plot
from uplift.files import atomic_file
from uplift.plain import to_plain

__all__ = ["render_report", "write_report"]

Table = Mapping[str, Any]

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_REFERENCES = {"fixed": "fixed insertion", "random": "random requests at the same rate"}
_RIVALS = _REFERENCES | {"purchase_probability": "ranking by purchase probability"}
_UNITS = {
    "qps": "extra requests per second",
    "qps_share": "share of the mean page requests per second",
    "requests": "extra requests altogether",
    "share": "extra requests per decision point",
}
_UNKNOWN_SIGN = ", which is not distinguishable from 0"


def render_report(report: Table) -> str:
    """Return a report as one self-contained HTML page; what the report lacks is left out.

    Parameters
    ----------
    report : what report.json holds
    """
    from jinja2 import ChainableUndefined, Environment

    # Undefined keys chain to nothing, so that the template can ask for what may be absent.
    environment = Environment(
        autoescape=True, undefined=ChainableUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"PER": PER, "MILLION": 1e6}
    environment.filters |= {
        "count": count,
        "percent": percent,
        "policy": policy_name,
        "quantity": quantity,
        "shown": shown,
        "shown_percent": shown_percent,
    }
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(_page(to_plain(dict(report))))


def write_report(report: Table, folder: str | Path) -> None:
    """Write report.html and report.json into a folder, each whole or not at all.

    Raises
    ------
    InputError
        The folder cannot be written to.
    """
    plain = to_plain(dict(report))
    texts = {
        "report.html": render_report(plain),
        "report.json": json.dumps(plain, indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with atomic_file(Path(folder) / name) as scratch:
            scratch.write_text(text, encoding="utf-8")


def _page(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the template is rendered with."""
    value = report.get("value", {})
    plan = value.get("plan", {})
    refused = plan.get("verdict") == "refused"
    prices = [row.get("price") for row in report.get("plan", {}).get("prices", [])]
    return {
        "report": report,
        "outcome": _outcome(report),
        "summary": " ".join(_summary(report)),
        "plan_value": plan,
        "refused": refused,
        "true_gain": None if refused else _true_gain(value),
        "saving": None if refused else _saving(report),
        "savings": [] if refused else _savings(report),
        "references": _REFERENCES,
        "estimators": estimators_of(value),
        "arms": _curves(report),
        "calibration": _calibration(report),
        "budget": _budget(report),
        "limits": _limits(report),
        "plan_notes": list(_plan_notes(report, refused)),
        "refit_notes": list(_refit_notes(report)),
        "same_price": len(set(prices)) == 1,
        "around_zero": around_zero,
        "learner": _learner(report.get("model", {}).get("learner", "")),
        "figures": _figures(report, refused),
    }


def _refit_notes(report: Table) -> Iterator[str]:
    """Say from which bundle a model was refitted, and how much of it was kept."""
    refit = report.get("refit", {})
    if not refit:
        return
    keep = refit["keep"]
    yield (
        f"Refitted from the bundle {refit['bundle']} of {refit['created']} (plan "
        f"{refit['plan_version']}): "
        + (f"{percent(keep)} of its model is kept." if keep else "its model was fitted anew.")
    )
    yield from refit["reasons"]
    moved = [_changed(row) for row in report.get("drift", []) if row["verdict"] != "steady"]
    if moved:
        yield f"Since its log noise does not explain the changes of: {_listed(moved)}."
    elif report.get("drift"):
        yield "Since its log nothing changed that noise does not explain."


def _changed(row: Table) -> str:
    return f"the effect on {row['name']}" if row["kind"] == "effect" else str(row["name"])


def _plan_notes(report: Table, refused: bool) -> Iterator[str]:
    """Say what the rule loses against hindsight, how it changes what it meets, and its optimism."""
    plan, outcome = report.get("plan", {}), _outcome(report)
    if plan.get("as_logged") is not None and plan.get("gain"):
        share = plan["as_logged"] / plan["gain"]
        yield (
            "Rule and hindsight: the certified plan knows how each session goes on. The rule does "
            f"not, and gains {percent(share)} of that on the same sessions within the same budget."
        )
    kind = plan.get("budget", {}).get("kind")
    if plan.get("more") and kind in _UNITS:
        more = plan["more"]
        yield (
            f"More budget: {_amount(kind, more['budget'])} more would gain "
            f"{quantity(more['gain'])} {outcome} more on the planned log, by its prices."
        )
    if plan.get("served"):
        yield (
            "Served: along the logged sessions the rule requests at least once in "
            f"{percent(plan['served']['sessions'])} of them."
        )
    if plan.get("feedback"):
        yield _feedback(plan["feedback"])
    if plan.get("optimism") and not refused:
        gap = plan["optimism"]
        yield (
            f"Optimism gap: promised minus off-policy gain is {shown(gap, PER)} {outcome} per "
            f"1,000 evaluated decision points{_UNKNOWN_SIGN if around_zero(gap) else ''}."
        )


def _feedback(ratio: Table) -> str:
    """Say by how much the rule's own requests change its spend; the budget holds in service."""
    found = f"the rule’s spend in service is {shown(ratio)} times that along the logged sessions"
    if ratio["lower"] is None or ratio["lower"] <= 1 <= ratio["upper"]:
        return f"Feedback: {found}, which is not distinguishable from 1; prices leave it out."
    return (
        f"Feedback: requests change what is met next, and {found}; prices are set so that the "
        "budget holds in service."
    )


def _figures(report: Table, refused: bool) -> dict[str, str]:
    """Draw what there is to draw, by name; a refused plan has neither frontier nor rates."""
    outcome, value = _outcome(report), report.get("value", {})
    prices = report.get("plan", {}).get("prices", [])
    horizons = [row for row in report.get("purchase_rates", []) if "horizon" in row]
    frontiers, curves = report.get("frontier", []), _curves(report)
    calibration = _calibration(report)
    figures = {}
    if curves:
        figures["qini"] = qini_plot(curves, outcome)
    if calibration:
        figures["calibration"] = calibration_plot(calibration, outcome)
    if value:
        figures["forest"] = forest_plot(value, outcome)
    if len(value.get("plan", {}).get("weights", [])) > 1:
        figures["weights"] = weights_plot(value["plan"]["weights"])
    if frontiers and not refused:
        figures["frontier"] = frontier_plot(frontiers, value, _saving(report), outcome)
    if len(horizons) > 1 and not refused:
        figures["rates"] = rates_plot(horizons)
    if len(prices) > 1:
        figures["prices"] = price_plot(prices, outcome)
    return figures | _plan_figures(report.get("plan", {}), outcome)


def _plan_figures(plan: Table, outcome: str) -> dict[str, str]:
    """Draw what other budgets are worth and where the requests go."""
    figures, places = {}, plan.get("served", {}).get("places", [])
    budget = plan.get("budget", {})
    known = budget.get("kind") in _UNITS and "decision_points" in plan
    if known and len(plan.get("budgets", [])) > 1:
        about = budget["amount"], _UNITS[budget["kind"]], plan["decision_points"], outcome
        figures["budget"] = budget_plot(plan["budgets"], *about)
    if len({row["position"] for row in places}) > 1:
        figures["served"] = served_plot(places)
    return figures


def _curves(report: Table) -> dict[str, Table]:
    """Return the held-out measures of each arm, by its name."""
    model = report.get("model", {})
    if "arms" in model:
        return {name: part for name, part in model["arms"].items() if "curve" in part}
    names = [arm["name"] for arm in report.get("log", {}).get("arms", [])[1:]]
    return {names[0] if names else "request": model} if "curve" in model else {}


def _calibration(report: Table) -> dict[str, Table]:
    """Return each arm's predictions before and after calibration, by its name."""
    arms = report.get("model", {}).get("calibration", {}).get("arms", {})
    return {name: part for name, part in arms.items() if "before" in part and "after" in part}


def _outcome(report: Table) -> str:
    return str(report.get("log", {}).get("primary", "outcome"))


def _saving(report: Table) -> Table | None:
    """Return the saving against fixed insertion, or against random where nothing is fixed."""
    return next(iter(_savings(report)), None)


def _savings(report: Table) -> list[Table]:
    """Return the savings in order of interest; one against a refused reference says nothing."""
    savings, value = report.get("saving_at_equal_effect", {}), report.get("value", {})
    return [
        savings[f"against_{name}"]
        for name in _REFERENCES
        if f"against_{name}" in savings and value.get(name, {}).get("verdict") != "refused"
    ]


def _true_gain(value: Table) -> float | None:
    """Return the simulated truth of the plan's gain, where it is known."""
    truths = [value.get(name, {}).get("true") for name in ("plan", "never")]
    return None if None in truths else truths[0] - truths[1]


def _summary(report: Table) -> Iterator[str]:
    """Say in plain sentences what was decided and why; a refusal first."""
    plan = report.get("value", {}).get("plan", {})
    refused = plan.get("verdict") == "refused"
    if refused:
        yield " ".join(["Refused: the log cannot say what the plan is worth.", *plan["reasons"]])
    yield from _learned(report)
    yield from _spends(report)
    if plan.get("gain") and not refused:
        yield from _gains(report)
        yield from _saves(report)
        yield _verdict(plan)


def _learned(report: Table) -> Iterator[str]:
    log, learner = report.get("log", {}), report.get("model", {}).get("learner")
    users = f" of {count(log['users'])} users" if "users" in log else ""
    if "rows" in log:
        yield f"The request log holds {count(log['rows'])} decision points{users}."
    if learner:
        fitted = log.get("split", {}).get("fit")
        on = f", fitted on {count(fitted)} of them," if fitted else ""
        yield f"The {_learner(learner)}{on} predicts what a request gains."


def _learner(name: str) -> str:
    return f"{name.upper()}-learner" if len(name) <= 2 else f"{name.replace('_', ' ')} learner"


def _spends(report: Table) -> Iterator[str]:
    plan = report.get("plan", {})
    if not {"spend", "decision_points"} <= plan.keys():
        return
    rate = plan["spend"] / max(plan["decision_points"], 1)
    budget = _budget(report)
    yield (
        f"The plan spends {count(plan['spend'])} extra requests on the "
        f"{count(plan['decision_points'])} decision points that it was made on, i.e. "
        f"{quantity(rate, PER)} per 1,000" + (f", within a budget of {budget}." if budget else ".")
    )


def _gains(report: Table) -> Iterator[str]:
    value, outcome = report["value"], _outcome(report)
    gain = value["plan"]["gain"]
    rivals = {
        words: value[name]["plan_advantage"]
        for name, words in _RIVALS.items()
        if value.get(name, {}).get("plan_advantage")
    }
    against = [f"{shown(more, PER)} more than {words}" for words, more in rivals.items()]
    unsure = [words for words, more in rivals.items() if around_zero(more)]
    verb = "loses" if (gain["upper"] is not None and gain["upper"] < 0) else "gains"
    yield (
        f"In the evaluation it {verb} {shown(gain, PER)} {outcome} per 1,000 decision points over "
        f"never requesting{_UNKNOWN_SIGN if around_zero(gain) else ''}"
        + (f"; paired on the same users, {_listed(against)}" if against else "")
        + (f" (not distinguishable from 0: {_listed(unsure)})." if unsure else ".")
    )


def _saves(report: Table) -> Iterator[str]:
    saving = _saving(report)
    if saving is None:
        return
    reference = _REFERENCES.get(saving["against"], saving["against"])
    if saving.get("requests") is None or saving["of_extra"]["value"] is None:
        yield f"No price lets the plan gain as much as {reference}, so no saving can be shown."
        return
    yield (
        f"To gain as much as {reference} it needs {quantity(saving['requests'], PER)} instead of "
        f"{quantity(saving['reference_requests'], PER)} extra requests per 1,000 decision points: "
        f"{_shares(saving)}."
    )
    if around_zero(saving["of_extra"]):
        yield "This saving is not distinguishable from 0."
    theirs = report["value"].get(saving["against"], {}).get("gain")
    if theirs and around_zero(theirs):
        yield f"(The gain of {reference} is itself uncertain, and the interval carries that.)"


def _shares(saving: Table) -> str:
    extra = f"{shown_percent(saving['of_extra'])} of the extra requests are saved"
    if "of_all" not in saving:
        return extra
    of_all = shown_percent(saving["of_all"])
    return f"{extra}, which is {of_all} of all requests, page requests included"


def _verdict(plan: Table) -> str:
    rows = f"effective sample size {count(plan['n_effective'])}" if "n_effective" in plan else ""
    if plan.get("verdict") == "doubtful":
        return " ".join(["The diagnostics doubt these numbers.", *plan.get("reasons", [])])
    return f"The diagnostics find the evaluation sound{f' ({rows})' if rows else ''}."


def _budget(report: Table) -> str:
    """Return a budget in words; absent, nothing."""
    budget = report.get("plan", {}).get("budget", {})
    if budget.get("amount") is None or budget.get("kind") not in _UNITS:
        return ""
    at_any_time = " at any time" if budget["kind"].startswith("qps") else ""
    return _amount(budget["kind"], budget["amount"]) + at_any_time


def _amount(kind: str, amount: float) -> str:
    """Return an amount of a kind of budget in words."""
    words = {
        "qps": f"{quantity(amount)} extra requests per second",
        "qps_share": f"{percent(amount)} of the mean page requests per second",
        "requests": f"{quantity(amount)} extra requests altogether",
        "share": f"{quantity(amount, PER)} extra requests per 1,000 decision points",
    }
    return words[kind]


def _limits(report: Table) -> str:
    """Return what one session allows, in words."""
    limits = report.get("plan", {}).get("limits", {})
    parts = [
        f"at most {limits[key]} {'request' if limits[key] == 1 else 'requests'} a {where}"
        for key, where in (("per_session", "session"), ("per_page", "page"))
        if limits.get(key)
    ]
    if limits.get("min_gap"):
        parts.append(f"at least {limits['min_gap']} slots apart")
    return _listed(parts)


def _listed(parts: list[str]) -> str:
    return " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"
