"""Redis Streams: entries, read by id or by a consumer group."""
