"""Agents: they take waiting runs from the registry and start them.

Owns the way from a claimed run to its end. Invariant: a run has a process group of its own, which
ends with the run, on its cancellation, and with its agent, whatever ends that one.
"""
