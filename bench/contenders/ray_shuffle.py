"""The shuffle of columns in Ray's own tasks.

ray_shuffle.py WARM REPEATS
"""

import sys

import ray
from arrow_shuffle import SIDES, merged, split
from marks import mark, repeat


def main(warm: str, repeats: str) -> None:
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
    )
    mapper = ray.remote(num_returns=SIDES)(split)
    reducer = ray.remote(merged)

    def job() -> int:
        pieces = [mapper.remote(part) for part in range(SIDES)]
        return sum(
            ray.get([reducer.remote(*column) for column in zip(*pieces, strict=True)])
        )

    mark("started")
    repeat(job, int(warm), int(repeats))
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
