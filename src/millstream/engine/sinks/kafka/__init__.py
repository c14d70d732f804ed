"""Kafka: topics, written in transactions."""
