"""Lineage as data: nodes, steps, partitions, partitioners."""
