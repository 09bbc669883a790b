"""Whether to try everything, which takes a quarter of an hour, or a part of it."""

import os

import pytest

EXHAUSTIVE = bool(os.environ.get("EXHAUSTIVE"))

exhaustive = pytest.mark.skipif(not EXHAUSTIVE, reason="another case shows the same; make test-all")
"""Marks a test that only `make test-all` runs."""
