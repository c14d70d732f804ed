"""What outlives a task or a process: blocks, object files."""
