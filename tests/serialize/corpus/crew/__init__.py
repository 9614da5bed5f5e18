"""A package that lies beside the scripts."""

from crew.left import left

__all__ = ["left"]
