"""The bridge to OR-Tools: a programme as arrays in, checked numbers out.

    max or min  objective x   s.t.  row_lower <= matrix x <= row_upper,  lower <= x <= upper

MathOpt's message is filled in bulk; nothing is added variable by variable.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from scipy import sparse

from uplift.arrays import FloatArray

__all__ = ["IntegerAnswer", "LinearAnswer", "Programme", "solve_integer", "solve_linear"]


@dataclass(frozen=True)
class Programme:
    """One linear or integer programme.

    Parameters
    ----------
    objective, lower, upper : (n,) float64
        Coefficients and bounds of the variables.
    matrix : (m, n) scipy.sparse.csr_array
    row_lower, row_upper : (m,) float64
    maximize : bool
    """

    objective: FloatArray
    lower: FloatArray
    upper: FloatArray
    matrix: Any
    row_lower: FloatArray
    row_upper: FloatArray
    maximize: bool = False


@dataclass(frozen=True)
class LinearAnswer:
    """An optimum of the continuous programme.

    Parameters
    ----------
    values : (n,) float64
    duals : (m,) float64
        Change of the objective with each row's bound.
    bound : float
        The objective, as the dual solution proves it.
    """

    values: FloatArray
    duals: FloatArray
    bound: float


@dataclass(frozen=True)
class IntegerAnswer:
    """What the search for an integral optimum found.

    Parameters
    ----------
    values : (n,) float64 or None
        None when there is no feasible point, or the time ran out before one was found.
    bound : float
        Proved bound on the objective.
    proved : bool
        Whether `values` is optimal, or there is no feasible point.
    nodes : int
        Nodes of the search tree.
    """

    values: FloatArray | None
    bound: float
    proved: bool
    nodes: int


def solve_linear(programme: Programme) -> LinearAnswer:
    """Solve the continuous programme with GLOP.

    Raises
    ------
    RuntimeError
        GLOP does not prove an optimum: the programme is infeasible, unbounded or too badly scaled.
    """
    from ortools.math_opt.python import mathopt

    model = _model(programme, integer=False)
    result = mathopt.solve(model, mathopt.SolverType.GLOP)
    if result.termination.reason is not mathopt.TerminationReason.OPTIMAL:
        raise RuntimeError(_surprise("GLOP", result.termination))
    values = np.array(result.variable_values(list(model.variables())))
    duals = np.array(result.dual_values(list(model.linear_constraints())))
    return LinearAnswer(values, duals, result.termination.objective_bounds.dual_bound)


def solve_integer(programme: Programme, time_limit: float) -> IntegerAnswer:
    """Solve with all variables integral, with HiGHS, for at most `time_limit` seconds.

    Raises
    ------
    RuntimeError
        HiGHS stops for another reason than an optimum or the time limit.
    """
    from ortools.math_opt.python import mathopt

    model = _model(programme, integer=True)
    parameters = mathopt.SolveParameters(
        time_limit=timedelta(seconds=time_limit),
        relative_gap_tolerance=0.0,
        absolute_gap_tolerance=1e-9,
    )
    result = mathopt.solve(model, mathopt.SolverType.HIGHS, params=parameters)
    reason, known = result.termination.reason, mathopt.TerminationReason
    if reason is known.INFEASIBLE:
        return IntegerAnswer(None, -np.inf, True, 0)
    if reason not in (known.OPTIMAL, known.FEASIBLE, known.NO_SOLUTION_FOUND):
        raise RuntimeError(_surprise("HiGHS", result.termination))
    found = result.has_primal_feasible_solution()
    values = np.array(result.variable_values(list(model.variables()))) if found else None
    bound = result.termination.objective_bounds.dual_bound
    return IntegerAnswer(values, bound, reason is known.OPTIMAL, result.solve_stats.node_count)


def _model(programme: Programme, *, integer: bool) -> Any:
    """Fill MathOpt's message in bulk."""
    from ortools.math_opt import model_pb2
    from ortools.math_opt.python import mathopt

    by_row = sparse.csr_array(programme.matrix, copy=True)
    by_row.sum_duplicates()  # MathOpt wants rows and columns in order
    matrix = by_row.tocoo()
    m, n = matrix.shape
    proto = model_pb2.ModelProto()
    proto.variables.ids.extend(range(n))
    proto.variables.lower_bounds.extend(programme.lower.tolist())
    proto.variables.upper_bounds.extend(programme.upper.tolist())
    proto.variables.integers.extend([integer] * n)
    proto.objective.maximize = programme.maximize
    proto.objective.linear_coefficients.ids.extend(range(n))
    proto.objective.linear_coefficients.values.extend(programme.objective.tolist())
    proto.linear_constraints.ids.extend(range(m))
    proto.linear_constraints.lower_bounds.extend(programme.row_lower.tolist())
    proto.linear_constraints.upper_bounds.extend(programme.row_upper.tolist())
    proto.linear_constraint_matrix.row_ids.extend(matrix.row.tolist())
    proto.linear_constraint_matrix.column_ids.extend(matrix.col.tolist())
    proto.linear_constraint_matrix.coefficients.extend(matrix.data.tolist())
    return mathopt.Model.from_model_proto(proto)


def _surprise(solver: str, termination: Any) -> str:
    return (
        f"{solver} stopped with {termination.reason.name} ({termination.detail or 'no detail'}), "
        "expected an optimum; check the scale of gains, costs and capacities."
    )
