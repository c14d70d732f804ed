"""JetStream: streams of NATS, read by sequence or by a durable consumer."""
