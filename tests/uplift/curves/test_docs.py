"""What docs/curves.md shows: its code runs, and the numbers of its table are these functions'."""

import re
from pathlib import Path

import numpy as np

from uplift import effect_scores, qini_curve
from uplift.curves import conventions as c
from uplift.curves import toc_curve

DOC = (Path(__file__).parents[3] / "docs" / "curves.md").read_text()


def numbers():
    rng, n = np.random.default_rng(0), 20_000
    score, arm = rng.random(n), rng.integers(0, 2, n)
    y = (rng.random(n) < 0.1 + 0.2 * score * arm).astype(float)
    log = (y, arm, score)
    effect = effect_scores(y, arm, np.full(n, 0.5), np.zeros((n, 2)))[:, 0]
    rows = np.arange(n)
    return {
        "qini_curve": qini_curve(score, effect, rows).area.value,
        "toc_curve": toc_curve(score, effect, rows).autoc.value,
        "causalml_auuc": c.causalml_auuc(*log),
        "causalml_qini": c.causalml_qini(*log),
        'causalml_rate("autoc")': c.causalml_rate(*log),
        'causalml_rate("qini")': c.causalml_rate(*log, "qini"),
        "scikit_uplift_auc": c.scikit_uplift_auc(*log),
        "scikit_uplift_qini": c.scikit_uplift_qini(*log),
        "scikit_uplift_at_k": c.scikit_uplift_at_k(*log),
        "pylift_qini": c.pylift_qini(*log),
        'grf_rate("autoc")': c.grf_rate(score, effect),
        'grf_rate("qini")': c.grf_rate(score, effect, "qini"),
        'econml_uplift("toc")': c.econml_uplift(score, effect, "toc"),
        'econml_uplift("qini")': c.econml_uplift(score, effect),
    }


def test_the_numbers_of_the_table():
    shown = dict(re.findall(r"\| `([^`]+)` \| (-?[\d.]+) \|$", DOC, re.MULTILINE))
    assert shown == {name: f"{value:.4f}" for name, value in numbers().items()}


def test_the_code_runs(capsys):
    for block in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL):
        exec(block, {})
    assert "[" in capsys.readouterr().out
