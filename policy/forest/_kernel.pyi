from collections.abc import Mapping
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

def encode(
    features: Mapping[str, Any],
    names: tuple[str, ...],
    places: tuple[dict[Any, int] | None, ...],
    row: bytearray,
    /,
) -> int: ...
def log_odds(probability: float, /) -> float: ...
