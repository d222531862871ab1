"""OptionBank: what every choice for every layer costs and does, worked out before the search."""
