"""Bytes by digest in a store."""
