"""Batches with a barrier: a Job per node of a batch; the next batch starts when all of them have ended."""

from tests.scale.peers.order import Jobs, Order


def main() -> None:
    """Execute the order on stdin."""
    order = Order.read()
    jobs = Jobs(order)
    for start in range(0, len(order.nodes), order.window):
        for node in order.nodes[start : start + order.window]:
            jobs.create(node, order.images)
        for _ in jobs.ended():
            pass


if __name__ == "__main__":
    main()
