"""Whether to try everything, which takes a quarter of an hour, or a part of it."""

import os

EXHAUSTIVE = bool(os.environ.get("EXHAUSTIVE"))
