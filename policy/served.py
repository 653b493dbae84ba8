"""Served: whom and where the rule's requests reach."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from policy.places import Places
from uplift.arrays import FloatArray, IntArray

__all__ = ["Served"]


@dataclass(frozen=True)
class Served:
    """What the rule is expected to do along the planned log's sessions, by place.

    Attributes
    ----------
    sessions : share of sessions that get at least one request
    page, position : (L,) page and first position of each place; the last page stands for all after
    points : (L,) decision points there
    requests : (L,) expected number of them that get a request
    """

    sessions: float
    page: IntArray
    position: IntArray
    points: IntArray
    requests: FloatArray

    @classmethod
    def of(
        cls, asked: FloatArray, place: IntArray, places: Places, session_start: IntArray
    ) -> "Served":
        """Count requests.

        Parameters
        ----------
        asked : (n,) probability of a request at each point
        place : (n,) place of each
        places : what the places are
        session_start : (S + 1,) first point of each session, and n
        """
        none = np.multiply.reduceat(1.0 - asked, session_start[:-1])
        points = np.bincount(place, minlength=len(places))
        requests = np.bincount(place, asked, minlength=len(places)).astype(np.float64)
        page, bucket = np.divmod(np.arange(len(places)), len(places.position))
        position = places.position[bucket]
        met = points > 0
        return cls(float(1.0 - none.mean()), page[met], position[met], points[met], requests[met])

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "Served":
        """Rebuild from plain values."""
        arrays = {key: np.array(table[key]) for key in ("page", "position", "points", "requests")}
        return cls(table["sessions"], **arrays)
