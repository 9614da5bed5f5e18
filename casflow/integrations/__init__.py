"""casflow in other programs: each module holds one host's interface and imports its SDK itself.

Owns nothing of its own. Invariant: what is here stands on the public `casflow.Store`, so that any
integration could be written outside of this project (Dask's executor and agent, which run flows,
are the exception).
"""
