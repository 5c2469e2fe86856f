"""A rolling window of one Job for each node: when one has ended, the next is made."""

from tests.scale.peers.order import Jobs, Order


def main() -> None:
    """Work an order."""
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
