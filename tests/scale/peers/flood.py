"""A Job per image and node, all created at the same time; the window is ignored."""

from tests.scale.peers.order import Jobs, Order


def main() -> None:
    """Execute the order on stdin."""
    order = Order.read()
    jobs = Jobs(order)
    for node in order.nodes:
        for number, image in enumerate(order.images):
            jobs.create(node, [image], f"{order.run}-{node}-{number}")
    for _ in jobs.ended():
        pass


if __name__ == "__main__":
    main()
