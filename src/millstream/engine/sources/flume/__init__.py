"""Flume: events that agents push or that are polled, by Avro's calls."""
