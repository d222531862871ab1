"""Compressed models out, as files."""
