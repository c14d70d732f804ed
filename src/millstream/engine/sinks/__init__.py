"""One file per outside system that data goes to."""
