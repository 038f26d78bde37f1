"""Distributed multi-objective search over compressed captioners. The commands are thin modules on top of packages."""

from rsopt import __version__

__all__ = ["__version__"]
