"""The C kernel; all else stands in pyproject.toml."""

from setuptools import Extension, setup

PARTS = ("forest", "module", "outcome", "row", "rule")
KERNEL = Extension(
    "policy.kernel._kernel",
    [f"policy/kernel/{part}.c" for part in PARTS],
    depends=["policy/kernel/kernel.h"],
    # Fused operations round otherwise than numpy's, and decisions are those of a batch to the bit.
    extra_compile_args=["-O3", "-ffp-contract=off"],
)

setup(ext_modules=[KERNEL])
