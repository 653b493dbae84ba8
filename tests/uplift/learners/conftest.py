"""The learners, one after the other."""

import pytest
from simulated_logs import QUICK
from trials import KINDS, NAMES, simulate

from uplift import LEARNERS


@pytest.fixture(params=NAMES)
def name(request):
    """Name a learner."""
    return request.param


@pytest.fixture
def new(name):
    """Make a learner of each kind."""
    return lambda params=QUICK, **options: LEARNERS[name](params, **options)


@pytest.fixture(params=KINDS)
def data(request):
    """Rows of a trial: X, y, arm, true uplift."""
    return simulate(1500, **KINDS[request.param])
