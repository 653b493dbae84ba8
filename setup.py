"""The C kernel; all else stands in pyproject.toml."""

from setuptools import Extension, setup

KERNEL = Extension("policy.forest._kernel", ["policy/forest/_kernel.c"], extra_compile_args=["-O3"])

setup(ext_modules=[KERNEL])
