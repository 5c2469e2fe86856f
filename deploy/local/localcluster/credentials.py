"""Identities: a small certificate authority, bearer tokens, and the kubeconfigs with them."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from . import layout
from .commands import run, write_if_changed

CA = layout.PKI / "ca.crt"
CA_KEY = layout.PKI / "ca.key"
SERVER = layout.PKI / "apiserver.crt"
SERVER_KEY = layout.PKI / "apiserver.key"
KUBELET_CLIENT = layout.PKI / "kubelet-client.crt"
KUBELET_CLIENT_KEY = layout.PKI / "kubelet-client.key"
SERVICE_ACCOUNTS = layout.PKI / "service-accounts.pub"
SERVICE_ACCOUNTS_KEY = layout.PKI / "service-accounts.key"
TOKENS = layout.PKI / "tokens.csv"

# identity → (user name, group)
USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kwok": ("kwok", "system:masters"),
    "argo": ("argo", "system:masters"),
    **{
        f"node{number}": (f"system:node:node{number}", "system:nodes")
        for number in range(1, layout.MAX_NODES + 1)
    },
}


def ensure() -> bool:
    """Create keys, certificates, tokens and kubeconfigs if missing; return whether they were created."""
    layout.PKI.mkdir(parents=True, exist_ok=True, mode=0o700)
    if TOKENS.is_file():  # written last
        return False
    names = (
        f"IP:{layout.GATEWAY},IP:{layout.SERVICE_ADDRESS},IP:127.0.0.1,DNS:localhost,"
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    )
    authority: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        *_new_key(),
        "-keyout",
        CA_KEY,
        "-out",
        CA,
        "-days",
        "3650",
    ]
    authority += ["-subj", "/CN=ips-flow-local-ca", "-addext", "basicConstraints=critical,CA:TRUE"]
    run(authority)
    _signed("apiserver", "/CN=kube-apiserver", f"subjectAltName={names}")
    _signed(
        "kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "extendedKeyUsage=clientAuth"
    )
    run(["openssl", "genrsa", "-out", SERVICE_ACCOUNTS_KEY, "2048"])
    run(["openssl", "rsa", "-in", SERVICE_ACCOUNTS_KEY, "-pubout", "-out", SERVICE_ACCOUNTS])
    tokens = {identity: secrets.token_hex(24) for identity in USERS}
    for identity, token in tokens.items():
        write_if_changed(layout.STATE / f"{identity}.kubeconfig", _kubeconfig(identity, token), mode=0o600)
    lines = [
        f"{tokens[identity]},{user},{identity}{f',{group}' if group else ''}\n"
        for identity, (user, group) in USERS.items()
    ]
    write_if_changed(TOKENS, "".join(lines), mode=0o600)
    return True


def _new_key() -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def _signed(name: str, subject: str, extension: str) -> None:
    base = layout.PKI / name
    request = f"{base}.csr"
    run(["openssl", "req", *_new_key(), "-keyout", f"{base}.key", "-out", request, "-subj", subject])
    extensions = layout.PKI / f"{name}.ext"
    extensions.write_text(f"{extension}\n")
    signing: list[str | Path] = [
        "openssl",
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        CA,
        "-CAkey",
        CA_KEY,
        "-CAcreateserial",
    ]
    signing += ["-out", f"{base}.crt", "-days", "3650", "-extfile", extensions]
    run(signing)


def _kubeconfig(identity: str, token: str) -> str:
    """Return a kubeconfig, as JSON, which is also YAML."""
    cluster = {"server": layout.API_SERVER, "certificate-authority": str(CA)}
    context = {"cluster": "local", "user": identity, "namespace": "default"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": identity, "user": {"token": token}}],
        "contexts": [{"name": "local", "context": context}],
        "current-context": "local",
    }
    return json.dumps(document, indent=2) + "\n"


def kubeconfig(identity: str) -> str:
    """Return the path of an identity's kubeconfig."""
    return str(layout.STATE / f"{identity}.kubeconfig")
