PART = ("late", 1)


def helper(x):
    from .settings import ZERO

    return ZERO + x
