"""Stories of receivers on a Ray cluster, which outlive the node that one is on."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.stories.test_receivers_apart import Reliable, Source, Stream

from millstream.streaming import StreamingListener

# Read when Ray is imported: without it, loopback becomes the machine's own address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# After six seconds Ray says that a node is gone, and not after fifteen: later than we do,
# who take five, and until then it would start the next receiver there.
_NOTICING = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1500",
    "RAY_health_check_failure_threshold": "4",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a cluster of a head with two CPUs and a node with none, for receivers."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in _NOTICING.items():
            patch.setenv(name, value)
        made = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "node_ip_address": "127.0.0.1",
                # Two clusters that start at a time would both want its one port.
                "include_dashboard": False,
            },
        )
    made.wait_for_nodes()
    ray.init(address=made.address, namespace="millstream", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


class OnNode(Reliable):
    """A reliable receiver that would rather be on some node, and tells where it is."""

    def __init__(self, port: int, wish: str) -> None:
        super().__init__(port)
        self.wish = wish

    @property
    def preferredLocation(self) -> str:
        """A node's id: the nodes of one machine have no other name of their own."""
        return self.wish

    def receive(self) -> None:
        """Let its records say so."""
        self.node = ray.get_runtime_context().get_node_id()
        super().receive()

    def store(self, data: Any, metadata: Any = None) -> None:
        """Store the number and the node."""
        super().store([(number, self.node) for number, _ in data], metadata)


def test_a_receiver_outlives_its_node(cluster: Any) -> None:
    """Another actor goes on where the source knows that nothing was acknowledged."""
    stopped: list[str] = []
    places: list[str] = []

    class Heard(StreamingListener):
        def onReceiverStarted(self, receiverStarted: Any) -> None:
            places.append(receiverStarted.receiverInfo().executorId())

        def onReceiverStopped(self, receiverStopped: Any) -> None:
            stopped.append(receiverStopped.receiverInfo().lastError())

    node = cluster.add_node(num_cpus=0, node_ip_address="127.0.0.1")
    cluster.wait_for_nodes()
    source, stream = Source(20), Stream("ray")
    try:
        stream.ssc.addStreamingListener(Heard())
        stream.collect(stream.ssc.receiverStream(OnNode(source.port, node.node_id)))
        stream.ssc.start()
        stream.wait_for(20)
        cluster.remove_node(node, allow_graceful=False)
        source.count = 200  # For the next one.
        source.wait_for(200)
    finally:
        stream.stop()
        source.close()

    numbers = [number for number, _ in stream.found]
    assert sorted(set(numbers)) == list(range(200))
    assert len(numbers) - len(set(numbers)) in (0, 1)
    nodes = [where for _, where in stream.found]
    assert nodes[0] == node.node_id
    assert nodes[-1] != node.node_id
    assert places == ["receiver-0", "receiver-0"]
    assert len(stopped) == 2
    assert "of stream 0 was lost" in stopped[0]
    assert not stopped[1]
