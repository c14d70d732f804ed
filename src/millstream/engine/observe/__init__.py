"""What shows the engine at work; reads events, changes nothing."""
