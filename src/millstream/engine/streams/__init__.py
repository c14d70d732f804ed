"""The control plane: graph, batches, windows, state, scheduling."""
