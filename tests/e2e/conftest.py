"""Fixtures of the whole folder."""

from doomed_services import doomed
from e2e_house import house, large_image, small_image

__all__ = ["doomed", "house", "large_image", "small_image"]
