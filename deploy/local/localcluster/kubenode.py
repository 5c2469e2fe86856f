"""A real node: a kubelet and its containerd, in their own namespaces."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from pathlib import Path

from . import cgroups, credentials, layout, network, processes
from .commands import await_condition, kubectl, run, write_if_changed
from .narration import step

PAUSE = f"{layout.REGISTRY}/ips-flow/pause:1"

# Directories with fixed paths that every node needs for itself. They are bind mounts in the node's mount namespace,
# on empty directories of the machine.
OWN_DIRECTORIES = (
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
)
OWN_RUNTIME_DIRECTORY = "/run/containerd"
_BOOTED = b"containerd successfully booted"


class Node:
    """The paths and processes of node number N."""

    def __init__(self, number: int) -> None:
        """Compute the paths of a node. Number 1 is node1, with address 10.201.0.11 and pods in 10.202.1.0/24."""
        self.number = number
        self.name = f"node{number}"
        self.config = layout.CONFIG / self.name
        self.storage = layout.storage() / self.name
        self.network_namespace = layout.NAMESPACES / f"{self.name}.net"
        self.mount_namespace = layout.NAMESPACES / f"{self.name}.mnt"
        self.runtime = layout.STATE / self.name

    @property
    def socket(self) -> Path:
        """The path of containerd's socket on the machine."""
        return self.runtime / "containerd.sock"

    def enter(self) -> list[str]:
        """Return the command prefix that runs a command in the node's namespaces."""
        return ["nsenter", f"--mount={self.mount_namespace}", f"--net={self.network_namespace}", "--"]

    def daemons(self) -> list[processes.Daemon]:
        """Return containerd and the kubelet, in the order in which they start."""
        containerd_config = self.config / "containerd.toml"
        kubelet_config = self.config / "kubelet.json"
        # containerd finds its shim on PATH.
        path = f"{layout.binary('containerd').parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        containerd = [*self.enter(), str(layout.binary("containerd")), "--config", str(containerd_config)]
        kubelet = [
            *self.enter(),
            str(layout.binary("kubelet")),
            f"--config={kubelet_config}",
            f"--kubeconfig={credentials.kubeconfig(self.name)}",
            f"--hostname-override={self.name}",
            f"--node-ip={network.node_address(self.number)}",
            f"--cert-dir={self.runtime / 'pki'}",
        ]
        environment = {"PATH": path}
        return [
            processes.Daemon(
                f"{self.name}-containerd",
                containerd,
                group=self.name,
                env=environment,
                inputs=(containerd_config, layout.recipe("containerd")),
            ),
            processes.Daemon(
                f"{self.name}-kubelet",
                kubelet,
                group=self.name,
                env=environment,
                inputs=(kubelet_config, layout.recipe("kubernetes")),
            ),
        ]

    def configure(self) -> None:
        """Write the node's configuration files."""
        write_if_changed(self.config / "containerd.toml", self._containerd_config())
        write_if_changed(self.config / "kubelet.json", json.dumps(self._kubelet_config(), indent=2) + "\n")
        write_if_changed(self.config / "cni" / "10-bridge.conflist", json.dumps(self._cni_config()) + "\n")
        for port in layout.REGISTRY_PORTS:
            registry = f"{layout.GATEWAY}:{port}"
            hosts = f'server = "http://{registry}"\n\n[host."http://{registry}"]\n'
            hosts += '  capabilities = ["pull", "resolve"]\n'
            write_if_changed(self.config / "certs.d" / registry / "hosts.toml", hosts)

    def _containerd_config(self) -> str:
        return f"""\
version = 3
root = "/var/lib/containerd"
state = "{OWN_RUNTIME_DIRECTORY}"
# NRI has one well-known socket per machine, and this machine has several containerds.
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
  address = "{OWN_RUNTIME_DIRECTORY}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{self.config / "certs.d"}"

[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE no score can be lowered, and runc would fail for every sandbox.
  restrict_oom_score_adj = true
  # Pods' network namespaces are mounted only in the node's mount namespace and are removed with it.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{self.config / "cni"}"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""

    def _kubelet_config(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(credentials.CA)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{OWN_RUNTIME_DIRECTORY}/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.ROOT}/{self.name}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "maxOpenFiles": 20000,
            "makeIPTablesUtilChains": False,
            "resolvConf": "",
            # There is no DNS. Nothing listens on this address, so a lookup fails immediately. Without an address,
            # every pod would get a warning event that real clusters do not have.
            "clusterDNS": [layout.GATEWAY],
            "clusterDomain": "cluster.local",
            "serializeImagePulls": False,
            "maxParallelImagePulls": 4,
            "registryPullQPS": 0,
            "nodeStatusMaxImages": -1,
            "nodeStatusUpdateFrequency": "5s",
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "1%",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
            },
            # Every kubelet reports the whole machine as its capacity.
            "systemReserved": {"memory": "16Gi", "cpu": "500m"} if _large_machine() else {"cpu": "200m"},
        }

    def _cni_config(self) -> dict[str, object]:
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": network.pod_range(self.number)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}

    def isolate(self) -> None:
        """Create the node's namespaces, unless they exist."""
        cgroups.create(self.name)
        self.runtime.mkdir(parents=True, exist_ok=True)
        if self._isolated():
            return
        layout.NAMESPACES.mkdir(parents=True, exist_ok=True)
        mounts = ["mount --make-rshared /"]
        for directory in OWN_DIRECTORIES:
            own = self.storage / directory.strip("/").replace("/", "-")
            own.mkdir(parents=True, exist_ok=True)
            Path(directory).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {shlex.quote(str(own))} {directory}")
        Path(OWN_RUNTIME_DIRECTORY).mkdir(parents=True, exist_ok=True)
        mounts.append(f"mount --bind {shlex.quote(str(self.runtime))} {OWN_RUNTIME_DIRECTORY}")
        for namespace in (self.network_namespace, self.mount_namespace):
            if namespace.is_mount():
                run(["umount", namespace])
            namespace.touch()
        # The node's mounts are not visible on the machine (private), but are visible in the node's pods (rshared).
        enter = ["unshare", f"--net={self.network_namespace}", f"--mount={self.mount_namespace}"]
        run([*enter, "--propagation", "private", "sh", "-ec", " && ".join(mounts)])

    def _isolated(self) -> bool:
        mounts = Path("/proc/self/mountinfo").read_text()
        return all(f" {path} " in mounts for path in (self.network_namespace, self.mount_namespace))

    def start(self) -> bool:
        """Start the daemons of the node that do not run; return whether any was started."""
        containerd, kubelet = self.daemons()
        since = containerd.log.stat().st_size if containerd.log.exists() else 0
        changed = processes.ensure(containerd)
        if changed:
            await_condition(
                f"containerd of {self.name} has booted",
                lambda: self.responds(containerd.log, since),
                seconds=30,
                log=containerd.log,
                abandon=lambda: processes.death(containerd.name),
            )
        return processes.ensure(kubelet) or changed

    def forget_past_socket(self) -> None:
        """Remove the socket of a killed containerd, so that no process waits for it."""
        record = processes.read(f"{self.name}-containerd")
        if record is None or not record.alive():
            self.socket.unlink(missing_ok=True)

    def responds(self, log: Path, since: int) -> bool:
        """Return whether containerd has booted, according to its log from that position on.

        Its socket exists earlier. But a kubelet that gets "not initialized yet" through it exits.
        """
        with log.open("rb") as stream:
            stream.seek(since)
            return self.socket.is_socket() and _BOOTED in stream.read()


def _large_machine() -> bool:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) > 20 * 1024 * 1024
    return False


def ready_nodes() -> set[str]:
    """Return the names of the nodes that the running kubelets report as Ready.

    A condition stays for the grace period after its kubelet has ended, so the node's lease must be newer than the
    process.
    """
    conditions = (
        '{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    )
    leases = '{range .items[*]}{.metadata.name}={.spec.renewTime}{"\\n"}{end}'
    said = kubectl("get", "nodes", "-l", "type!=kwok", "-o", f"jsonpath={conditions}").split()
    renewed = kubectl("get", "leases", "-n", "kube-node-lease", "-o", f"jsonpath={leases}").split()
    fresh = {name for name, _, time in (line.partition("=") for line in renewed) if _is_newer(name, time)}
    return {line.removesuffix("=True") for line in said if line.endswith("=True")} & fresh


def _is_newer(name: str, renewed: str) -> bool:
    """Return whether a lease was renewed after the start of the node's kubelet."""
    record = processes.path(f"{name}-kubelet")
    return record.is_file() and dt.datetime.fromisoformat(renewed).timestamp() > record.stat().st_mtime


def start(numbers: list[int]) -> None:
    """Start the nodes that do not run; do not wait until they are Ready."""
    with step(f"start {len(numbers)} node{'s' if len(numbers) != 1 else ''}") as current:
        changed = False
        for number in numbers:
            node = Node(number)
            node.isolate()
            network.connect(number)
            node.configure()
            node.forget_past_socket()
            changed |= node.start()
        if not changed:
            current.says("already running")


def await_ready(numbers: list[int]) -> None:
    """Wait until all these nodes are Ready."""
    names = {f"node{number}" for number in numbers}
    kubelet = Node(numbers[0]).daemons()[1]
    with step(f"nodes Ready: {', '.join(sorted(names))}"):

        def dead() -> str:
            reasons = [
                processes.death(daemon.name) for number in numbers for daemon in Node(number).daemons()
            ]
            return "; ".join(reason for reason in reasons if reason)

        await_condition(
            "all nodes are Ready", lambda: names <= ready_nodes(), seconds=90, log=kubelet.log, abandon=dead
        )
