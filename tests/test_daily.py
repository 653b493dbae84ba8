"""The example of a nightly job, end to end: run, refit, again, and days that must not go live."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offline_eval.feed import simulate
from policy.bundle import Bundle
from uplift.log import RequestLog

EXAMPLE = Path(__file__).parents[1] / "examples" / "daily.toml"
FIRST, SECOND = "2026-01-05", "2026-01-06"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line in this process; gives exit code, standard output, standard error."""
    from policy.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["request-uplift", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def report_of(out: Path) -> Any:
    return json.loads((out / "daily" / "report.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what the timer does on the first day."""
    from policy.job import Job
    from policy.loop import run_job

    out = tmp_path_factory.mktemp("first")
    job = Job.from_dict(_table(), EXAMPLE.parent)
    bundle, report = run_job(job)
    assert report["gate"]["verdict"] == "published"
    bundle.save(out / "daily" / "bundle")
    return out


def _table() -> dict[str, Any]:
    import tomllib

    table = tomllib.loads(EXAMPLE.read_text())
    table["log"]["day"] = FIRST
    return table


def test_two_days(cli: Cli, first: Path, tmp_path: Path) -> None:
    out = shutil.copytree(first, tmp_path / "runs")
    live = out / "daily" / "bundle"
    before = content(live)
    code, _, err = cli("refit", EXAMPLE, "--day", SECOND, "--out", out)
    assert code == 0, err
    report = report_of(out)
    assert report["refit"]["bundle"] == str(live)
    assert {row["verdict"] for row in report["drift"]} == {"steady"}
    assert "Since the bundle before" in (out / "daily" / "report.html").read_text()
    after = content(live)
    assert after != before
    assert Bundle.load(live).evidence["logs"][-1]["first"].startswith(SECOND)
    assert sorted(p.name for p in (out / "daily").iterdir()) == [
        "bundle",
        "report.html",
        "report.json",
    ]
    code, told, _ = cli("refit", EXAMPLE, "--day", SECOND, "--out", out)
    assert (code, content(live)) == (0, after)
    assert "it has learned from this log already" in told


@pytest.fixture(scope="module")
def second() -> RequestLog:
    table = _table()["log"]
    log = simulate(table["sessions"], seed=0, rate=table["rate"], days=table["days"])
    return log.take(log.frame["timestamp"].dt.strftime("%Y-%m-%d").to_numpy() == SECOND)


def test_a_bad_day_leaves_the_bundle_of_the_day_before(
    cli: Cli, first: Path, second: RequestLog, tmp_path: Path
) -> None:
    """Its outcomes are turned round; the days come in one file each."""
    out = shutil.copytree(first, tmp_path / "runs")
    live, job = out / "daily" / "bundle", tmp_path / "daily.toml"
    before = content(live)
    bad = second.frame.assign(purchase_10=1 - second.outcome("purchase_10"))
    RequestLog(bad, second.schema).write(tmp_path / f"{SECOND}.parquet")
    second.schema.write(tmp_path / "schema.toml")
    source = 'path = "{day}.parquet"\nschema = "schema.toml"'
    text = EXAMPLE.read_text().replace("sessions = 24_000\nrate = 30.0\ndays = 2", source)
    assert source in text
    job.write_text(text.replace("keep = [0.5, 0.0, 1.0]", "keep = [0.0]"))
    code, _, err = cli("refit", job, "--day", SECOND, "--out", out)
    assert code == 3, err
    assert content(live) == before
    assert any("another world" in reason for reason in report_of(out)["gate"]["reasons"])
    assert Bundle.load(out / "daily" / "held").evidence["gate"]["verdict"] == "held"


def test_what_stops_the_writing_leaves_the_bundle_of_the_day_before(
    cli: Cli, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step of it; a reader sees the old one, and nothing lies about."""
    from policy import bundle as bundle_module
    from policy import refit as refit_module

    out = shutil.copytree(first, tmp_path / "runs")
    live = out / "daily" / "bundle"
    old, before = Bundle.load(live), content(live)
    published = {"gate": {"verdict": "published", "reasons": []}}
    monkeypatch.setattr(refit_module, "refit_job", lambda *_: (old, published))

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    steps = [
        (bundle_module.UpliftModel, "save"),
        (bundle_module.RequestPlan, "save"),
        (bundle_module, "write_manifest"),
    ]
    for owner, name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stop)
            code = cli("refit", EXAMPLE, "--day", SECOND, "--out", out)[0]
        assert code != 0
        assert content(live) == before
        assert sorted(p.name for p in (out / "daily").iterdir()) == ["bundle"]
