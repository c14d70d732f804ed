"""JetStream: subjects of NATS, published to once."""
