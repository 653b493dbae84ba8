"""Places: where in a session a decision is taken, as few enough cells to know something of each."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from uplift.arrays import IntArray

__all__ = ["Places"]

#: Pages of their own hold so many decision points, cells of a page and some positions so many.
PAGE_POINTS = 1000
CELL_POINTS = 100


@dataclass(frozen=True)
class Places:
    """Cells ``min(page, pages - 1) x (last bucket that begins at or before the position)``.

    Attributes
    ----------
    pages : number of pages told apart; the last stands for all that follow
    position : (B,) first position of each bucket, rising from 0
    """

    pages: int
    position: IntArray

    @classmethod
    def of(
        cls,
        page: IntArray,
        position: IntArray,
        page_points: int = PAGE_POINTS,
        cell_points: int = CELL_POINTS,
    ) -> "Places":
        """Tell places apart as far as the decision points of a log allow.

        A page is one of its own while it and those after it hold `page_points`; neighbouring
        positions share a bucket until it holds `cell_points` on every page.

        Parameters
        ----------
        page, position : (n,) places of the decision points
        page_points, cell_points : least numbers of decision points
        """
        reach = np.cumsum(np.bincount(page)[::-1])[::-1]
        pages = max(1, int((reach >= page_points).sum()))
        kept, code = np.unique(position, return_inverse=True)
        shape = (pages, len(kept))
        cells = np.ravel_multi_index((np.minimum(page, pages - 1), code), shape)
        counts = np.bincount(cells, minlength=pages * len(kept)).reshape(shape)
        first = _bucket_starts(counts, cell_points)
        return cls(pages, np.where(first == 0, 0, kept[first]).astype(np.int64))

    def __len__(self) -> int:
        return self.pages * len(self.position)

    def index(self, page: IntArray, position: IntArray) -> IntArray:
        """Return the place of each decision point, page by page, (n,) in [0, len(self))."""
        bucket = np.searchsorted(self.position, position, side="right") - 1
        buckets = len(self.position)
        place: IntArray = np.minimum(page, self.pages - 1) * buckets + np.maximum(bucket, 0)
        return place

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "Places":
        """Rebuild places from plain values."""
        return cls(int(table["pages"]), np.array(table["position"], dtype=np.int64))


def _bucket_starts(counts: IntArray, least: int) -> IntArray:
    """Return the columns of (pages, positions) counts at which buckets of `least` begin.

    What is left at the end and too small joins the bucket before it.
    """
    starts, held = [0], np.zeros(len(counts), dtype=np.int64)
    for column in range(counts.shape[1]):
        if column and held.min() >= least:
            starts.append(column)
            held[:] = 0
        held += counts[:, column]
    if held.min() < least and len(starts) > 1:
        starts.pop()
    return np.array(starts)
