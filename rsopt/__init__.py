"""BLIP-2 captioners for remote sensing: compressing, training, captioning, scoring and measuring them."""

__version__ = "0.2.0"  # the version in pyproject.toml
