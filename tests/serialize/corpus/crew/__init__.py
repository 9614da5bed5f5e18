"""A package that lies beside the scripts."""

from crew.left import go_left

__all__ = ["go_left"]
