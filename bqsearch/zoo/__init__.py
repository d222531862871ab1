"""The built-in models: their definitions, training recipes and shipped checkpoints."""
