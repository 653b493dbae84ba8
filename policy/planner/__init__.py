"""Planning under a budget: an exact solver, and a decomposition for any size.

The folder is the problem, a module is a method: `exact` proves small problems, `decomposition`
certifies large ones. Importing this package imports neither numba nor OR-Tools.
"""
