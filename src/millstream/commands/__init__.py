"""Commands: those of the command line, a module each, loaded when asked for."""
