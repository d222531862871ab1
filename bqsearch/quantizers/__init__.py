"""Quantizers: maps of 8-bit codes onto fewer levels. One method, one file."""
