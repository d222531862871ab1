"""Codings: exact bytes, encode and decode."""
