"""Hostile input for every door through which bytes of others come in."""
