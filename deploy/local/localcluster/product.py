"""IPS Flow itself: its virtual environment, image and installation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import images, layout, oci, registry
from .commands import apply, kubectl, run
from .errors import LocalClusterError
from .narration import step

INSTALLED = layout.STATE / "product.json"
REPOSITORY = "ips-flow/ips-flow"

SERVER = "deployment/ips-flow-server"

_KEPT_LAYERS = 60
_SERVER_SECONDS = 120
_SOURCES = (
    "deploy/Dockerfile",
    "pyproject.toml",
    "ips_flows",
    "steps",
    "templates",
    "deploy/base",
    "deploy/components",
)


def source_hash() -> str:
    """Return 12 hexadecimal digits of a hash of all files in the image and the installation."""
    paths = [layout.CHECKOUT / name for name in _SOURCES]
    return layout.tree_hash(*(path for path in paths if path.exists()))[:12]


def reference(tag: str) -> str:
    """Return the reference of the IPS Flow image with that tag."""
    return f"{layout.REGISTRY}/{REPOSITORY}:{tag}"


def ensure_venv() -> None:
    """Create the virtual environment with IPS Flow; update it only if pyproject.toml changed."""
    with step("virtual environment") as current:
        project = layout.CHECKOUT / "pyproject.toml"
        key = layout.venv() / "key"
        wanted = layout.tree_hash(project) + str(layout.CHECKOUT)
        if key.is_file() and key.read_text() == wanted and (layout.venv() / "bin" / "ips-flow").exists():
            current.says("up to date")
            return
        log = layout.build_logs() / "venv.log"
        key.unlink(missing_ok=True)
        if not (layout.venv() / "bin" / "python").exists():
            shutil.rmtree(layout.venv(), ignore_errors=True)
            hint = "run apt-get install python3-venv, or use a Python that has the module ensurepip"
            run([sys.executable, "-m", "venv", layout.venv()], log=log, hint=hint)
        pip: list[str | Path] = [layout.venv() / "bin" / "python", "-m", "pip", "install", "--quiet"]
        run(
            [*pip, "-e", f"{layout.CHECKOUT}[dev]"],
            log=log,
            hint="the installation needs access to a Python package index",
        )
        key.write_text(wanted)
        remove_abandoned_venvs()


def remove_abandoned_venvs() -> None:
    """Remove the virtual environments of checkouts that no longer exist; each takes half a gigabyte."""
    for key in layout.cache().glob("venv-*/key"):
        checkout = Path(key.read_text()[layout.HASH_CHARACTERS :])
        if not checkout.exists():
            shutil.rmtree(key.parent)


def ensure_image(tag: str) -> None:
    """Build the IPS Flow image with its Dockerfile and push it; only if a source changed."""
    with step("product image") as current:
        if registry.client().has(REPOSITORY, tag):
            current.says("up to date")
            return
        folder = layout.cache() / "images" / "product" / tag
        made = oci.load(folder)
        if made is None:
            _build(folder, tag)
            made = oci.load(folder)
        if made is None:
            raise LocalClusterError(f"buildah wrote no OCI layout to {folder}", log=_log())
        registry.client().push(made, REPOSITORY, tag)
        current.says(tag)


def _log() -> Path:
    return layout.build_logs() / "product-image.log"


def _build(folder: Path, tag: str) -> None:
    _log().unlink(missing_ok=True)
    pip_cache = layout.cache() / "pip"
    pip_cache.mkdir(parents=True, exist_ok=True)
    root = layout.cache() / "buildah"
    buildah: list[str | Path] = [
        "buildah",
        "--storage-driver",
        "overlay",
        "--root",
        root / "root",
        "--runroot",
        root / "run",
    ]
    local = f"localhost/{REPOSITORY}:{tag}"
    bud: list[str | Path] = [
        *buildah,
        "bud",
        "--isolation",
        "chroot",
        "--network",
        "host",
        "--tls-verify=false",
        "--layers",
    ]
    bud += ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro", "-v", f"{pip_cache}:/root/.cache/pip:rw"]
    bud += ["--build-arg", f"PYTHON_IMAGE={layout.REGISTRY}/{images.PYTHON_BASE}"]
    bud += ["-f", layout.CHECKOUT / "deploy" / "Dockerfile", "-t", local, layout.CHECKOUT]
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Keep only the newest images; each has about 100 MB.
    for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-2]:
        shutil.rmtree(old)
    # The layers of earlier builds make this one fast, but they must not accumulate.
    if len(run([*buildah, "images", "--all", "--quiet"]).split()) > _KEPT_LAYERS:
        run([*buildah, "rmi", "--all", "--force"], log=_log())
    run(bud, log=_log())
    run(
        [*buildah, "push", "--format", "oci", "--disable-compression", local, f"oci:{folder}:{tag}"],
        log=_log(),
    )


def ensure_installed(tag: str) -> None:
    """Create the namespace and install IPS Flow, unless this version is installed."""
    with step("install IPS Flow") as current:
        wanted = {"image": reference(tag), "checkout": str(layout.CHECKOUT)}
        if INSTALLED.is_file() and json.loads(INSTALLED.read_text()) == wanted and _namespace_exists():
            current.says("up to date")
            return
        INSTALLED.unlink(missing_ok=True)
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
        metadata = {"name": layout.NAMESPACE, "labels": labels}
        apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        worker = f"{layout.REGISTRY}/{images.WORKER}"
        argv: list[str | Path] = [
            layout.venv() / "bin" / "ips-flow",
            "install",
            "--namespace",
            layout.NAMESPACE,
            "--create-namespace",
        ]
        argv += ["--image", wanted["image"], "--worker-image", worker, "--with-server"]
        run(argv, env={"KUBECONFIG": str(layout.KUBECONFIG)})
        kubectl("--namespace", layout.NAMESPACE, "rollout", "status", SERVER, f"--timeout={_SERVER_SECONDS}s")
        INSTALLED.write_text(json.dumps(wanted))
        current.says(wanted["image"])


def server_address() -> str:
    """Return the URL of a ready server pod, or an empty string. There is no kube-proxy, so it is a pod address."""
    found = kubectl(
        *("--namespace", layout.NAMESPACE, "get", "endpointslices", "--ignore-not-found", "-o", "json"),
        *("-l", "kubernetes.io/service-name=ips-flow-server"),
    )
    ready = [
        f"http://{endpoint['addresses'][0]}:{one['ports'][0]['port']}"
        for one in json.loads(found or "{}").get("items", [])
        for endpoint in one.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
    ]
    return ready[0] if ready else ""


def _namespace_exists() -> bool:
    return bool(kubectl("get", "namespace", layout.NAMESPACE, "--ignore-not-found", "-o", "name").strip())


def ensure() -> None:
    """Install IPS Flow from this checkout in the running cluster."""
    ensure_venv()
    tag = source_hash()  # computed once, because files may change during the run
    ensure_image(tag)
    ensure_installed(tag)


def flow(*argv: str, stdin: str | None = None) -> int:
    """Run ips-flow in the foreground, on the same terminal, and return its exit code."""
    environment = {**os.environ, "KUBECONFIG": str(layout.KUBECONFIG), "IPS_FLOW_NAMESPACE": layout.NAMESPACE}
    words = [str(layout.venv() / "bin" / "ips-flow"), *argv]
    return subprocess.run(words, env=environment, input=stdin, text=True, check=False).returncode
