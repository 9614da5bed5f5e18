"""A deploy script: push a project, promote it, move the tag, roll back when a check fails.

python deploy.py STAGING PRODUCTION FOLDER NAME
"""

from __future__ import annotations

import sys

import casflow


def deploy(staging: casflow.Store, production: casflow.Store, folder: str, name: str) -> str:
    """Return what happened."""
    version = staging.push(folder, name, labels=["deploy"])
    staging.tag(version, "candidate")
    released = staging.copy(f"{name}@candidate", production)
    before = production.tags(name).get("prod")
    production.tag(released, "prod")
    if healthy(production.checkout(f"{name}@prod") / "check.txt"):
        return f"released {released}"
    if before is None:
        return f"{released} is not healthy, and there is none before it"
    production.tag(before, "prod")
    return f"rolled back to {before}"


def healthy(check) -> bool:
    """Tell whether a release may stay."""
    return check.read_text().strip() == "ok"


if __name__ == "__main__":
    staging, production = map(casflow.Store, sys.argv[1:3])
    print(deploy(staging, production, *sys.argv[3:5]))
