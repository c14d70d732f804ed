"""The shuffle of columns in Dask's own futures, or as one graph.

dask_shuffle.py KIND WARM REPEATS
"""

import sys
from functools import partial
from operator import getitem

import dask
from arrow_shuffle import SIDES, merged, split
from distributed import Client, LocalCluster
from marks import mark, repeat


def of_futures(client: Client) -> int:
    """Submit every task; a piece of a map task's list is a task of its own."""
    lists = [client.submit(split, part, pure=False) for part in range(SIDES)]
    sums = [
        client.submit(
            merged,
            *(client.submit(getitem, each, part, pure=False) for each in lists),
            pure=False,
        )
        for part in range(SIDES)
    ]
    return sum(client.gather(sums))


def of_graph(client: Client) -> int:
    """Hand the whole job over at once."""
    lists = [dask.delayed(split, pure=False)(part) for part in range(SIDES)]
    merger = dask.delayed(merged, pure=False)
    sums = [merger(*(each[part] for each in lists)) for part in range(SIDES)]
    return sum(client.gather(client.compute(sums)))


KINDS = {"futures": of_futures, "graph": of_graph}


def main(kind: str, warm: str, repeats: str) -> None:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        mark("started")
        repeat(partial(KINDS[kind], client), int(warm), int(repeats))


if __name__ == "__main__":
    main(*sys.argv[1:])
