"""One file per outside system that data comes from."""
