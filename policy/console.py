"""What the command line shows: bars on the way, a few lines at the end, errors as a sentence."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from policy.progress import Stages
from uplift.plain import to_plain

__all__ = ["fail", "in_brief", "print_summary", "say", "shown_stages"]


class _Bars(Stages):
    """Stages with a bar each, on standard error."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def begin(self, name: str) -> None:
        self._tasks[name] = self._progress.add_task(name, total=None)

    def update(self, name: str, done: int, total: int) -> None:
        self._progress.update(self._tasks[name], completed=done, total=total)

    def end(self, name: str) -> None:
        self._progress.update(self._tasks[name], completed=1, total=1)


@contextmanager
def shown_stages(quiet: bool) -> Iterator[Stages]:
    """Yield stages that draw bars; silent ones for machines and where no one watches."""
    if quiet or not sys.stderr.isatty():
        yield Stages()
        return
    name = TextColumn("{task.description:<9}")
    columns = (SpinnerColumn(), name, BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bars(progress)


def fail(sentence: str) -> NoReturn:
    """Say what went wrong and leave with exit code 2."""
    print(f"request-uplift: {sentence}", file=sys.stderr)
    sys.exit(2)


def say(table: dict[str, Any], as_json: bool) -> None:
    """Print results: as JSON, or the plain ones line by line."""
    plain = to_plain(table)
    if as_json:
        print(json.dumps(plain, indent=1, allow_nan=False))
        return
    for key, value in plain.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            _print_rows(key, value)
        elif isinstance(value, dict):
            print(f"{key}: " + ", ".join(f"{k} {_plainly(v)}" for k, v in value.items()))
        else:
            print(f"{key}: {_plainly(value)}")


def in_brief(about: dict[str, Any]) -> dict[str, Any]:
    """Return of a fitted model what fits a terminal: no tables by bin, four columns a candidate."""
    tables = ("calibration", "candidates", "arms", "multi_arm")
    brief = {key: value for key, value in about.items() if key not in tables}
    for arm, change in about["calibration"]["arms"].items():
        slopes = {when: part["slope"] for when, part in change.items()}
        brief[f"calibration slope, {arm}"] = slopes
    columns = ("name", "weight", "r_gain", "behind")
    if "candidates" in about:
        brief["candidates"] = [{c: row[c] for c in columns} for row in about["candidates"]]
    return brief


def print_summary(report: dict[str, Any], as_json: bool, folder: Path | None) -> None:
    """Print a report: as JSON, or its policies as a table."""
    if as_json:
        print(json.dumps(report, indent=1, allow_nan=False))
        return
    console = Console(width=max(Console().width, 120))
    console.print(_policies(report))
    for saving in report["saving_at_equal_effect"].values():
        console.print(_saving(saving))
    if "gate" in report:
        console.print(f"gate: {report['gate']['verdict']}", style="bold")
    for reason in report.get("gate", {}).get("reasons", []):
        console.print(f"held: {reason}", style="yellow", markup=False)
    for warning in report["warnings"]:
        console.print(f"warning: {warning}", style="yellow", markup=False)
    if folder is not None:
        console.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    for heading in rows[0]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(_plainly(value) for value in row.values()))
    Console().print(table)


def _plainly(value: Any) -> str:
    if isinstance(value, dict) and {"value", "lower", "upper"} == set(value):
        return (
            f"{_plainly(value['value'])} [{_plainly(value['lower'])}, {_plainly(value['upper'])}]"
        )
    if isinstance(value, float):
        return f"{value:.5g}"
    return "-" if value is None else str(value)


def _policies(report: dict[str, Any]) -> Table:
    table = Table(title=f"{report['log']['primary']} per 1,000 decision points")
    for heading in ("policy", "value", "gain over never", "requests", "verdict"):
        table.add_column(heading, justify="left" if heading in ("policy", "verdict") else "right")
    table.add_column("plan's gain over it", justify="right", no_wrap=True)
    for name, value in report["value"].items():
        shown = value.get("dr") or value.get("snips")
        gain, requests = value.get("gain"), f"{1000 * value['requests']['value']:.1f}"
        more = _interval(value.get("plan_advantage"))
        table.add_row(name, _interval(shown), _interval(gain), requests, value["verdict"], more)
    return table


def _interval(estimate: dict[str, float | None] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "-"
    value, lower, upper = (1000 * (estimate[k] or 0.0) for k in ("value", "lower", "upper"))
    return f"{value:.2f} [{lower:.2f}, {upper:.2f}]"


def _saving(saving: dict[str, Any]) -> str:
    shares = {"the extra requests": saving["of_extra"], "all requests": saving.get("of_all")}
    told = [
        f"{_percent(e['value'])} of {what} [{_percent(e['lower'])}, {_percent(e['upper'])}]"
        for what, e in shares.items()
        if e is not None and e["value"] is not None
    ] or ["never reached"]
    return f"requests saved at equal effect against {saving['against']}: {', '.join(told)}"


def _percent(share: float | None) -> str:
    return "-inf" if share is None else f"{share:.0%}"
