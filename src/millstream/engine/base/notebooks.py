"""Notebooks: the names of cells, by which people know their lines of code.

To Python a cell is a file of some made-up name, which IPython knows to tell.
"""

import linecache
import re
import sys

_FRAME = re.compile(r'(?P<indent> *)File "(?P<file>[^"]+)", line (?P<line>\d+)')


def cell_of(file_name: str) -> str | None:
    """Return the cell, as `In[5]`, that has a file name; None if there is none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return None
    told: tuple[str, str] | None = shell.compile.format_code_name(file_name)
    return None if told is None else told[1]


def name_cells(traceback: str) -> str:
    """Return a traceback, as text, that names cells as such.

    With their source, which only this process has.
    """
    lines = traceback.split("\n")
    told: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        found = _FRAME.match(line)
        cell = None if found is None else cell_of(found["file"])
        if found is None or cell is None:
            told.append(line)
            continue
        indent, number = found["indent"], found["line"]
        told.append(f"{indent}Cell {cell}, line {number}{line[found.end() :]}")
        source = linecache.getline(found["file"], int(number)).strip()
        if source and source not in following:
            told.append(f"{indent}  {source}")
    return "\n".join(told)
