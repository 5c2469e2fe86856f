"""The network of the machine: one bridge, and per node one veth pair and one network namespace."""

from __future__ import annotations

import subprocess

from . import layout
from .commands import run
from .errors import LocalClusterError


def node_address(number: int) -> str:
    """Return the address of a node."""
    return f"10.201.0.{10 + number}"


def pod_range(number: int) -> str:
    """Return the address range of a node's pods."""
    return f"10.202.{number}.0/24"


def link(number: int) -> str:
    """Return the host's end of a node's veth pair; setting it down disconnects the node."""
    return f"lcv{number}"


def exists(name: str) -> bool:
    """Return whether a network link exists."""
    return subprocess.run(["ip", "link", "show", name], capture_output=True, check=False).returncode == 0


def ensure_bridge() -> bool:
    """Create the bridge with the gateway's and the API server's addresses; return whether it was missing."""
    if exists(layout.BRIDGE):
        addresses = run(["ip", "-o", "-4", "addr", "show", "dev", layout.BRIDGE])
        if f"{layout.SERVICE_ADDRESS}/32" in addresses and f"{layout.GATEWAY}/24" in addresses:
            return False
        run(["ip", "link", "del", layout.BRIDGE])
    foreign = run(["ip", "-o", "route", "show", "root", "10.201.0.0/24"]).strip()
    if foreign:
        raise LocalClusterError(
            f"10.201.0.0/24 is already routed: {foreign}",
            hint="the local cluster needs that network: remove the route",
        )
    run(["ip", "link", "add", layout.BRIDGE, "type", "bridge"])
    run(["ip", "addr", "add", f"{layout.GATEWAY}/24", "dev", layout.BRIDGE])
    # The ClusterIP of `kubernetes` is an address of this machine, so no kube-proxy is needed.
    run(["ip", "addr", "add", f"{layout.SERVICE_ADDRESS}/32", "dev", layout.BRIDGE])
    run(["ip", "link", "set", layout.BRIDGE, "up"])
    return True


def connect(number: int) -> None:
    """Connect a node's network namespace to the bridge and route its pods; skip the parts that exist."""
    namespace = layout.NAMESPACES / f"node{number}.net"
    inside = ["nsenter", f"--net={namespace}"]
    if not exists(link(number)):
        run(["ip", "link", "add", link(number), "type", "veth", "peer", "name", f"lcp{number}"])
        run(["ip", "link", "set", f"lcp{number}", "netns", str(namespace)])
    run(["ip", "link", "set", link(number), "master", layout.BRIDGE, "up"])
    has_interface = [*inside, "ip", "link", "show", "eth0"]
    if subprocess.run(has_interface, capture_output=True, check=False).returncode != 0:
        run([*inside, "ip", "link", "set", f"lcp{number}", "name", "eth0"])
    run([*inside, "ip", "link", "set", "lo", "up"])
    run([*inside, "ip", "addr", "replace", f"{node_address(number)}/24", "dev", "eth0"])
    run([*inside, "ip", "link", "set", "eth0", "up"])
    run([*inside, "ip", "route", "replace", "default", "via", layout.GATEWAY])
    run([*inside, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    run(["ip", "route", "replace", pod_range(number), "via", node_address(number), "dev", layout.BRIDGE])
    # Pods of different nodes reach each other over the bridge; the machine itself need not forward.
    for other in range(1, layout.MAX_NODES + 1):
        if other != number:
            run([*inside, "ip", "route", "replace", pod_range(other), "via", node_address(other)])


def links() -> list[str]:
    """Return the existing links of the cluster, the bridge last."""
    names = [link(number) for number in range(1, layout.MAX_NODES + 1)]
    names += [f"lcp{number}" for number in range(1, layout.MAX_NODES + 1)]
    return [name for name in [*names, layout.BRIDGE] if exists(name)]


def remove() -> None:
    """Delete every link of the cluster; the kernel removes their routes and addresses."""
    for name in links():
        try:
            run(["ip", "link", "del", name])
        except LocalClusterError:
            # Deleting one end of a veth pair deletes both. The kernel itself removes a node's end some time after
            # the node's network namespace, possibly at this moment.
            if exists(name):
                raise
