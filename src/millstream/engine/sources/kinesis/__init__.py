"""Kinesis: shards, read by sequence numbers, without KCL."""
