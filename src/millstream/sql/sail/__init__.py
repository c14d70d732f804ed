"""Sail: the engine that runs queries, in a child process, and how it is asked."""
