"""Exits: `sys.exit()` in a function that the engine calls, where it can end nothing.

A thread's SystemExit is silent, and a worker's would end the worker: whoever waits for what
the function should have made would wait for ever. So it counts as an error of the function.
"""

from millstream.engine.base.errors import PySparkRuntimeError

__all__ = ["ExitCalledError", "error_of"]


class ExitCalledError(PySparkRuntimeError):
    """A function of the program's has called `sys.exit()` where that ends no program."""


def error_of(exit_: SystemExit) -> BaseException:
    """Return the error to raise for a SystemExit, with its traceback.

    One of a class of the engine's own is meant to end the program, and is returned as it is.
    """
    if type(exit_) is not SystemExit:
        return exit_
    msg = f"sys.exit({exit_.code!r}) was called in a function that the engine runs"
    hint = (
        "raise an error if it has failed; to end a stream, call its stop() where the "
        "program waits for it, as after awaitTerminationOrTimeout()"
    )
    return ExitCalledError(msg, hint=hint).with_traceback(exit_.__traceback__)
