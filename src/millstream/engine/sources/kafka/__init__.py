"""Kafka: topics, read by offsets or by a consumer group."""
