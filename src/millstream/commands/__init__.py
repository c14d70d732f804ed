"""Commands: the command line beyond running a program, a module each, loaded when asked for."""
