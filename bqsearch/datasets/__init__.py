"""Data: labeled sets with three splits that never mix."""
