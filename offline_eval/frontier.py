"""Gain against requests, and the requests saved at equal effect."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from offline_eval.evaluation import gain_rows
from offline_eval.policies import Policy, walk
from uplift.arrays import FloatArray
from uplift.clusters import Estimate, bootstrap, cluster_sums
from uplift.log import RequestLog

__all__ = ["Frontier", "Saving", "frontier"]


@dataclass(frozen=True)
class Saving:
    """Requests that a family of policies saves against a reference of equal gain.

    Attributes
    ----------
    against : name of the reference
    reference_requests : the reference's requests per decision point
    requests : requests per decision point at which the family gains as much
    of_extra : ``1 - requests / reference_requests``: share of the extra requests saved
    of_all : ``(reference_requests - requests) / (pages + reference_requests)``: share of all
        requests saved, the page requests that are made anyhow included; absent without pages
    """

    against: str
    reference_requests: float
    requests: float
    of_extra: Estimate
    of_all: Estimate | None


@dataclass(frozen=True)
class Frontier:
    """Gain of a family of policies against its requests, both per decision point.

    Attributes
    ----------
    requests : (K,) requests spent, increasing, from 0
    gain : (K,) outcome gained over never requesting
    lower, upper : (K,) ends of the gain's intervals
    """

    name: str
    requests: FloatArray
    gain: FloatArray
    lower: FloatArray
    upper: FloatArray
    _sums: FloatArray  # (clusters, 2 K + 2): gains, requests, pages, rows
    _log: RequestLog
    _outcome: FloatArray | None

    def saving(self, reference: Policy, *, draws: int = 200, seed: int = 0) -> Saving:
        """Estimate the requests saved against a reference at the reference's gain.

        The family's requests at that gain are read off the frontier, made monotone and linear
        between its policies; where it never gains as much, the saving is minus infinity.
        Intervals: Poisson bootstrap of clusters, frontier and reference drawn together.
        """
        own = _gain_and_requests(self._log, reference, self._outcome)
        sums = np.column_stack([self._sums, own])

        def statistic(totals: FloatArray) -> FloatArray:
            return np.column_stack([_savings(column, len(self.gain)) for column in totals.T])

        total = sums.sum(axis=0)
        point = _savings(total, len(self.gain))
        lower, upper = bootstrap(sums, statistic, draws, seed)
        extra, of_all = (Estimate(*map(float, e)) for e in zip(point, lower, upper, strict=True))
        rows = total[2 * len(self.gain) + 1]
        return Saving(
            reference.name,
            float(total[-1] / rows),
            float(_requests_needed(total, len(self.gain)) / rows),
            extra,
            of_all if "page" in self._log.frame else None,
        )


def frontier(
    log: RequestLog,
    family: Sequence[Policy],
    *,
    name: str,
    outcome: FloatArray | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Frontier:
    """Trace gain against requests along a family of policies, say one for each price.

    Parameters
    ----------
    log : randomised log, not used to fit the policies
    family : policies in any order; never requesting is added
    name : what to call the family
    outcome : (n, A + 1) modelled outcome under each arm, which makes the gain less noisy
    draws, seed : of the bootstrap of clusters
    """
    members = [_gain_and_requests(log, policy, outcome) for policy in family]
    members.sort(key=lambda member: float(member[:, 1].sum()))
    members.insert(0, np.zeros_like(members[0]))
    count = len(members)
    places = np.column_stack([log.page_starts, np.ones(len(log))])
    gains, requests = np.stack(members).transpose(2, 1, 0)
    sums = np.column_stack([gains, requests, cluster_sums(places, log.cluster)])

    def statistic(totals: FloatArray) -> FloatArray:
        curve: FloatArray = totals[:count] / totals[2 * count + 1]
        return curve

    total = sums.sum(axis=0)
    lower, upper = bootstrap(sums, statistic, draws, seed)
    rows = total[2 * count + 1]
    return Frontier(
        name,
        total[count : 2 * count] / rows,
        total[:count] / rows,
        lower,
        upper,
        sums,
        log,
        outcome,
    )


def _gain_and_requests(log: RequestLog, policy: Policy, outcome: FloatArray | None) -> FloatArray:
    """Return the policy's gain and requests summed by cluster, (clusters, 2)."""
    pi = walk(policy, log)
    spent = pi @ np.asarray(log.schema.arm_cost)
    return cluster_sums(np.column_stack([gain_rows(log, pi, outcome), spent]), log.cluster)


def _requests_needed(totals: FloatArray, count: int) -> float:
    """Return the requests at which the frontier first reaches the reference's gain, or infinity."""
    requests, target = totals[count : 2 * count], totals[-2]
    gain = isotonic_regression(totals[:count]).x  # the first passage of noise is too early
    reached = np.flatnonzero(gain >= target)
    if not len(reached):
        return np.inf
    after = int(reached[0])
    if after == 0:
        return 0.0
    step = (target - gain[after - 1]) / (gain[after] - gain[after - 1])
    return float(requests[after - 1] + step * (requests[after] - requests[after - 1]))


def _savings(totals: FloatArray, count: int) -> FloatArray:
    """Share of the extra requests and of all requests saved; 0 where there are none to save."""
    needed, reference, pages = _requests_needed(totals, count), totals[-1], totals[2 * count]
    if reference == 0:
        return np.zeros(2)
    return np.array([1 - needed / reference, (reference - needed) / (pages + reference)])
