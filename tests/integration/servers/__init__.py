"""Real servers for tests, from wheels: each on loopback, on a free port, in its own directory."""
