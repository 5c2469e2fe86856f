"""A Job for each image on each node, all at once: the window is not asked."""

from tests.scale.peers.order import Jobs, Order


def main() -> None:
    """Work an order."""
    order = Order.read()
    jobs = Jobs(order)
    for node in order.nodes:
        for number, image in enumerate(order.images):
            jobs.create(node, [image], f"{order.run}-{node}-{number}")
    for _ in jobs.ended():
        pass


if __name__ == "__main__":
    main()
