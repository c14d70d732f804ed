"""Clients: connections to outside systems that sources and sinks share."""
