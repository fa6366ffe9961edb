"""Fixtures of the whole folder."""

from e2e_house import house, large_image, small_image

__all__ = ["house", "large_image", "small_image"]
