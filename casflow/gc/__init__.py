"""Collection: what nothing names is condemned, waits, and is deleted; nothing else ever is."""

from casflow.gc.collector import Collector, history
from casflow.gc.limits import Claims, Limits
from casflow.gc.reports import Amount, Report
from casflow.gc.retention import Policy, parse_duration
from casflow.gc.roots import is_pin, pin, pins, trashed, undelete, unpin
from casflow.gc.stats import Stats, stats
from casflow.gc.verify import Finding, Verification, verify

__all__ = [
    "Amount",
    "Claims",
    "Collector",
    "Finding",
    "Limits",
    "Policy",
    "Report",
    "Stats",
    "Verification",
    "history",
    "is_pin",
    "parse_duration",
    "pin",
    "pins",
    "stats",
    "trashed",
    "undelete",
    "unpin",
    "verify",
]
