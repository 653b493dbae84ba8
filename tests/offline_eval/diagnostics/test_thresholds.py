"""The thresholds that docs/gate.md tells are those of the code."""

from pathlib import Path

import pytest

from offline_eval.diagnostics import drift, support, weights
from uplift import randomisation

PAGE = (Path(__file__).parents[3] / "docs" / "gate.md").read_text()
ROWS = {line.split("|")[1].strip(): line for line in PAGE.splitlines() if line.startswith("| ")}

TOLD = {
    "effective rows, ": (
        f"below {weights.DOUBTFUL_EFFECTIVE_SHARE:.0%}",
        f"below {weights.REFUSED_N_EFFECTIVE:.0f} ",
    ),
    "largest share of the weight, one row": (
        f"above {weights.DOUBTFUL_LARGEST_SHARE:.0%}",
        f"above {weights.REFUSED_LARGEST_SHARE:.0%}",
    ),
    "largest share of the weight, one user": (
        f"above {weights.DOUBTFUL_USER_SHARE:.0%}",
        f"above {weights.REFUSED_USER_SHARE:.0%}",
    ),
    "tail index": (f"above {weights.DOUBTFUL_TAIL:g}:", f"above {weights.REFUSED_TAIL:g}:"),
    "outcomes that speak": (
        f"fewer than {weights.DOUBTFUL_EVENTS} ",
        f"fewer than {weights.REFUSED_EVENTS} ",
    ),
    "mean weight": (
        f"by {weights.DOUBTFUL_MEAN_HALF_WIDTHS:g} half widths",
        f"more than {weights.REFUSED_MEAN_OFF:g}",
    ),
    "support gap": (f"above {support.DOUBTFUL_GAP:.1%}", f"above {support.REFUSED_GAP:.0%}"),
    "effective rows behind a gain": (f"below {weights.REFUSED_N_EFFECTIVE:.0f}:",),
    "sample ratio": (f"p below {randomisation.RATIO_P_VALUE:g},",),
    "calibration of propensities": (f"p below {randomisation.RATIO_P_VALUE:g},",),
    "features tell the arm": (f"{randomisation.LEAK_AUC:g} and 4 standard errors",),
    "drift": (
        f"{drift.DRIFT_AUC:g} and 4 standard errors",
        f"above {drift.REFUSED_DRIFT_AUC:g}",
    ),
}


@pytest.mark.parametrize("finding", TOLD)
def test_the_page_tells_the_thresholds(finding: str) -> None:
    (row,) = [line.replace(" %", "%") for name, line in ROWS.items() if name.startswith(finding)]
    for phrase in TOLD[finding]:
        assert phrase in row


def test_the_page_tells_the_rules_of_the_gate() -> None:
    import tomllib

    from policy.gate import GateRules
    from policy.job import Job

    block = PAGE.split("```toml\n")[1].split("```")[0]
    told = tomllib.loads(block)["gate"]
    rules = Job.from_dict({"gate": told}).gate
    assert rules == GateRules(bundle=Path("live/bundle"))
