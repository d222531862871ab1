"""Data: sets with or without labels, in three splits that never mix."""
