"""One of two modules that import each other."""

import crew.right


def left(n):
    return n if n < 1 else crew.right.right(n - 1)
