"""The ground: time, clock, storage, errors, configuration; imports nothing of ours."""
