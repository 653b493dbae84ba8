from collections.abc import Mapping, Sequence
from typing import Any

class Forest:
    def __init__(
        self,
        nodes: bytes,
        sets: bytes,
        words: bytes,
        roots: bytes,
        depths: bytes,
        base: float,
        /,
    ) -> None: ...
    def margin(self, row: bytearray, last: float = ..., /) -> float: ...

class Calibration:
    def __init__(self, maps: tuple[tuple[bytes, bytes, float], ...], binary: bool, /) -> None: ...
    def apply(self, control: float, uplift: Sequence[float], /) -> tuple[float, ...]: ...

class Rule:
    def __init__(
        self,
        price: bytes,
        tie_share: bytes,
        cost: bytes,
        limits: tuple[int, int, int],
        shrinkage: tuple[float, bytes] | None,
        reserve: tuple[bytes, bytes, bytes, int, int, int] | None,
        tolerance: float,
        /,
    ) -> None: ...
    def choose(
        self,
        uplift: Sequence[float],
        window: int,
        price: float | None,
        page: int,
        position: int,
        requests: int,
        on_page: int,
        slots_since: int,
        /,
    ) -> tuple[int, float, float, float, str, bool]: ...

def encode(
    features: Mapping[str, Any],
    names: tuple[str, ...],
    places: tuple[dict[Any, int] | None, ...],
    row: bytearray,
    /,
) -> int: ...
def encode_values(
    values: tuple[Any, ...],
    places: tuple[dict[Any, int] | None, ...],
    row: bytearray,
    /,
) -> int: ...
def expit(margin: float, /) -> float: ...
def log_odds(probability: float, /) -> float: ...
def on(control: float, uplift: Sequence[float], binary: bool, /) -> float: ...
