"""Studies: one TOML file for each experiment, found by `bqsearch run --study NAME`."""
