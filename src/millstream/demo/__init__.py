"""Demo: a word count over a socket, fed with a real text."""
