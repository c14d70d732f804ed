"""From a receiver to a stored block."""
