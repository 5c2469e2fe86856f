"""A rolling window with a Job per node: when one has ended, the next is created."""

from tests.scale.peers.order import Jobs, Order


def main() -> None:
    """Execute the order on stdin."""
    order = Order.read()
    jobs = Jobs(order)
    waiting = iter(order.nodes)
    for _, node in zip(range(order.window), waiting, strict=False):
        jobs.create(node, order.images)
    for _ in jobs.ended():
        for node in waiting:
            jobs.create(node, order.images)
            break


if __name__ == "__main__":
    main()
