"""The network as pure data: tensors, operators, and what can be said of them without running anything."""
