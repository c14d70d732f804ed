"""Lineage text: an RDD's ancestry as an indented tree."""

from millstream.engine.plan.nodes import RddNode, Shuffled


def lineage_text(root: RddNode) -> str:
    """Return one line an RDD, children first; a shuffle starts a new level.

    `(4)` before a line is the number of partitions of the stage that begins there.
    """
    lines: list[str] = []
    waiting: list[tuple[RddNode, str, str]] = [(root, f"({root.partition_count}) ", "")]
    while waiting:
        node, prefix, indent = waiting.pop()
        lines.append(f"{prefix}{_line(node)}")
        parents = node.parents()
        is_shuffle = isinstance(node.op, Shuffled)
        width = " " * (len(str(node.partition_count)) + 2)
        for parent in reversed(parents):
            if is_shuffle:
                deeper = indent + width
                waiting.append(
                    (parent, f"{deeper}+-({parent.partition_count}) ", deeper + "  ")
                )
            else:
                waiting.append(
                    (parent, f"{indent}{' ' * (len(width) - 2)} |  ", indent)
                )
    return "\n".join(lines)


def _line(node: RddNode) -> str:
    text = f"{node.title()} RDD[{node.id}] at {node.call_site or 'unknown'}"
    if node.level is not None:
        text += f" [{node.level}]"
    if node.checkpoint_path is not None:
        text += f" [checkpoint: {node.checkpoint_path}]"
    return text
