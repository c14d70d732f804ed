"""Observe: progress, metrics and the event log; reads events, and changes nothing."""
