"""The C runtime of bqsearch: its source, what describes a network to it, and its builds."""
