"""Shows a finished search to people: tables for the terminal, a figure, and one self-contained page."""
