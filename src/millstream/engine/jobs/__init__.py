"""Jobs: cut into stages, run as tasks, retried, reported."""
