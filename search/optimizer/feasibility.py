"""TODO."""

from __future__ import annotations

# A latency that is only proportional to compute may be this far off; it refuses what even then is too slow.
CRUDE = 0.3
