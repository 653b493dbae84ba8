"""What a bundle's model expects of one decision point, from its forests' margins.

The scalar twins of `uplift.learners` and `uplift.calibration`: the same formulas in the same order
of operations, so that a point has the same uplift, to the bit, here and in a batch.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from policy.forest.layout import read_forest
from policy.kernel import Calibration, Forest, expit, on
from uplift.errors import InputError

__all__ = ["Expectation", "read_expectation"]

Forests: TypeAlias = Mapping[str, Forest]
Constants: TypeAlias = Mapping[str, float]
Raw: TypeAlias = Callable[[bytearray], tuple[float, list[float]]]
"""A row to the outcome under arm 0 and the uplift of each arm, before calibration."""

Expectation: TypeAlias = Callable[[bytearray], tuple[float, ...]]
"""A row to the calibrated uplift of each arm."""


def read_expectation(folder: Path) -> Expectation:
    """Read the model of a bundle's folder ``model``.

    Raises
    ------
    InputError
        The learner is none that a bundle holds, or a file is not what it should be.
    """
    about = json.loads((folder / "learner.json").read_text())
    forests = {name: read_forest(folder / f"{name}.ubj") for name in about["boosters"]}
    calibration = json.loads((folder / "calibration.json").read_text())
    binary, n_arms = about["objective"] == "binary:logistic", int(about["n_arms"])
    raw = _raw(about["learner"], forests, about["constants"], n_arms, binary)
    calibrated = Calibration(tuple(map(_map, calibration["maps"])), binary).apply

    def expect(row: bytearray) -> tuple[float, ...]:
        control, uplift = raw(row)
        return calibrated(control, uplift)

    return expect


def _raw(name: str, forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    if name == "auto":
        return _auto(forests, constants, n_arms, binary)
    if name not in _LEARNERS:
        raise InputError(f"learner {name!r} is none that decides here; expected {list(_LEARNERS)}.")
    return _LEARNERS[name](forests, constants, n_arms, binary)


def _s(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    margin, arms, mean = forests["outcome"].margin, range(n_arms + 1), _mean(binary)

    def raw(row: bytearray) -> tuple[float, list[float]]:
        return _of([mean(margin(row, a)) for a in arms])

    return raw


def _t(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    margins = [forests[f"outcome_{a}"].margin for a in range(n_arms + 1)]
    mean = _mean(binary)

    def raw(row: bytearray) -> tuple[float, list[float]]:
        return _of([mean(margin(row)) for margin in margins])

    return raw


def _logit(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    control, mean = forests["control"].margin, _mean(binary)
    effects = [forests[f"effect_{a}"].margin for a in range(1, n_arms + 1)]

    def raw(row: bytearray) -> tuple[float, list[float]]:
        base = control(row)
        return _of([mean(base), *(mean(base + effect(row)) for effect in effects)])

    return raw


def _proportional(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    common, mean = forests["common"].margin, _mean(binary)
    shifts = [constants[f"shift_{a}"] for a in range(n_arms + 1)]

    def raw(row: bytearray) -> tuple[float, list[float]]:
        base = common(row)
        return _of([mean(base + shift) for shift in shifts])

    return raw


def _effect(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    effects = [forests[f"effect_{a}"].margin for a in range(1, n_arms + 1)]
    return _boosted(forests, lambda row: [effect(row) for effect in effects], binary)


def _class_transform(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    effects = [forests[f"effect_{a}"].margin for a in range(1, n_arms + 1)]
    if not binary:
        return _effect(forests, constants, n_arms, binary)
    return _boosted(forests, lambda row: [2 * expit(e(row)) - 1 for e in effects], binary)


def _x(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    arms = range(1, n_arms + 1)
    parts = [
        (constants[f"share_{a}"], forests[f"untreated_{a}"].margin, forests[f"treated_{a}"].margin)
        for a in arms
    ]
    return _boosted(
        forests,
        lambda row: [share * on_0(row) + (1 - share) * on_a(row) for share, on_0, on_a in parts],
        binary,
    )


_LEARNERS: dict[str, Callable[[Forests, Constants, int, bool], Raw]] = {
    "s": _s,
    "t": _t,
    "x": _x,
    "r": _effect,
    "dr": _effect,
    "logit": _logit,
    "class_transform": _class_transform,
    "proportional": _proportional,
}


def _auto(forests: Forests, constants: Constants, n_arms: int, binary: bool) -> Raw:
    """Mix the voices of what `auto` kept, each under its name."""
    names = list(dict.fromkeys(key.split(".")[0] for key in constants))
    parts = []
    for name in names:
        own, told = _under(name, forests), _under(name, constants)
        parts.append((told["weight"], _raw(name.split("-")[0], own, told, n_arms, binary)))
    if len(parts) == 1 and parts[0][0] == 1.0:
        return parts[0][1]
    total = sum(weight for weight, _ in parts)

    def raw(row: bytearray) -> tuple[float, list[float]]:
        control, uplift = 0.0, [0.0] * n_arms
        for weight, part in parts:
            own_control, own_uplift = part(row)
            control += weight / total * own_control
            uplift = [u + weight * own for u, own in zip(uplift, own_uplift, strict=True)]
        return on(control, uplift, binary), uplift

    return raw


def _boosted(forests: Forests, effects: Callable[[bytearray], list[float]], binary: bool) -> Raw:
    """Put boosted effects on the outcome under arm 0."""
    control, mean = forests["control"].margin, _mean(binary)

    def raw(row: bytearray) -> tuple[float, list[float]]:
        uplift = effects(row)
        return on(mean(control(row)), uplift, binary), uplift

    return raw


def _of(outcome: list[float]) -> tuple[float, list[float]]:
    control = outcome[0]
    return control, [o - control for o in outcome[1:]]


def _mean(binary: bool) -> Callable[[float], float]:
    return expit if binary else float


def _map(table: Mapping[str, Any]) -> tuple[bytes, bytes, float]:
    """Lay out the map of one arm, `uplift.calibration.maps.ArmMap`."""
    x, y = (np.array(table[axis], dtype=np.float64).tobytes() for axis in ("x", "y"))
    return x, y, float(table["slope"])


def _under(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries ``name.key`` of a table, by key."""
    start = f"{name}."
    return {key.removeprefix(start): v for key, v in table.items() if key.startswith(start)}
