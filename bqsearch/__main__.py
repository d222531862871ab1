"""`python -m bqsearch`."""

from bqsearch.cli import main

main()
