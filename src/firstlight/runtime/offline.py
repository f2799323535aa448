"""Whether this process may use the network: `FIRSTLIGHT_OFFLINE` and `HF_HUB_OFFLINE` forbid it."""

import os

VARIABLES = ("FIRSTLIGHT_OFFLINE", "HF_HUB_OFFLINE")
FALSE_WORDS = ("", "0", "false", "no", "off", "n", "f")


def offline_by() -> str | None:
    """Return the environment variable that forbids using the network; None if none does. Any true value counts."""
    return next((name for name in VARIABLES if os.environ.get(name, "").strip().lower() not in FALSE_WORDS), None)
