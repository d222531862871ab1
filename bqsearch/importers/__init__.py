"""Model files in, Graphs out."""
