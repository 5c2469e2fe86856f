"""Upstream programs, built from Go modules at the versions in go.mod and go.sum."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

from . import layout
from .commands import run
from .narration import step

ARGO = "github.com/argoproj/argo-workflows/v4"
ARGO_VERSION = "v4.0.7"
KUBERNETES_VERSION = "v1.36.3"
CONTAINERD_VERSION = "v2.3.7"


@dataclasses.dataclass(frozen=True)
class Upstream:
    """An upstream: its folder, its programs, and its build flags."""

    name: str
    programs: tuple[str, ...]
    package: str = "tool"
    tags: str = ""
    stamps: tuple[tuple[str, str], ...] = ()

    @property
    def source(self) -> Path:
        """The folder with go.mod and go.sum."""
        return layout.LOCAL / "upstream" / self.name

    @property
    def output(self) -> Path:
        """The folder of the built programs."""
        return layout.cache() / "upstream" / self.name

    def flags(self) -> list[str]:
        """Return the flags of `go build`."""
        stamps = [f"-X {variable}={value}" for variable, value in self.stamps]
        tags = ["-tags", self.tags] if self.tags else []
        return ["-trimpath", *tags, "-ldflags", " ".join(["-s -w", *stamps])]

    def key(self) -> str:
        """Return a hash of all inputs of the build."""
        digest = hashlib.sha256(layout.tree_hash(self.source / "go.mod", self.source / "go.sum").encode())
        digest.update(json.dumps([self.flags(), self.package, self.programs]).encode())
        return digest.hexdigest()

    def built(self) -> bool:
        """Return whether the programs of this build exist."""
        key = self.output / "key"
        have = all((self.output / "bin" / program).exists() for program in self.programs)
        return have and key.is_file() and key.read_text() == self.key()


def _kubernetes_stamps() -> tuple[tuple[str, str], ...]:
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": "1", "gitMinor": "36", "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{package}.{name}", value) for package in packages for name, value in values.items())


UPSTREAMS = (
    Upstream("etcd", ("etcd",), package="go.etcd.io/etcd/server/v3"),
    Upstream(
        "containerd",
        ("containerd", "containerd-shim-runc-v2", "ctr"),
        tags="urfave_cli_no_docs no_btrfs no_zfs no_devmapper",
        stamps=(("github.com/containerd/containerd/v2/version.Version", CONTAINERD_VERSION),),
    ),
    Upstream(
        "kubernetes",
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"),
        stamps=_kubernetes_stamps(),
    ),
    Upstream(
        "argo",
        ("workflow-controller", "argoexec"),
        stamps=((f"{ARGO}.version", ARGO_VERSION), (f"{ARGO}.gitTag", ARGO_VERSION)),
    ),
    Upstream("kwok", ("kwok",)),
)


def go_environment() -> dict[str, str]:
    """Return the variables that keep Go's caches outside the work tree and make builds reproducible."""
    return {
        "GOMODCACHE": str(layout.cache() / "gomod"),
        "GOCACHE": str(layout.cache() / "gobuild"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def module_directory(upstream: str, module: str) -> Path:
    """Return the folder of a module; download it into the module cache if needed."""
    # Cached next to the programs: running Go takes a second, and the folder of a pinned module does not change.
    known = layout.cache() / "upstream" / upstream / "modules.json"
    answers: dict[str, str] = json.loads(known.read_text()) if known.is_file() else {}
    source = layout.LOCAL / "upstream" / upstream
    key = f"{module} {layout.tree_hash(source / 'go.mod')[:16]}"
    if key in answers and Path(answers[key]).is_dir():
        return Path(answers[key])
    run(["go", "mod", "download", module], cwd=source, env=go_environment())
    found = run(["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=source, env=go_environment()).strip()
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps({**answers, key: found}))
    return Path(found)


def ensure() -> None:
    """Build every upstream that is missing or whose inputs changed."""
    for upstream in UPSTREAMS:
        if upstream.built():
            continue
        with step(f"build {upstream.name} (takes minutes the first time)"):
            _build(upstream)


def _build(upstream: Upstream) -> None:
    log = layout.build_logs() / f"build-{upstream.name}.log"
    upstream.output.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    source = _mended_argo(upstream) if upstream.name == "argo" else upstream.source
    # Build into another folder, then rename it: the file of a running program can't be overwritten, and
    # an interrupted build keeps the previous programs.
    fresh = upstream.output / "bin.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    target = fresh / upstream.programs[0] if len(upstream.programs) == 1 else f"{fresh}{os.sep}"
    argv = ["nice", "go", "build", *upstream.flags(), "-o", str(target), upstream.package]
    run(
        argv,
        cwd=source,
        env=go_environment(),
        log=log,
        hint="the build needs Go 1.26 and access to the Go module proxy",
    )
    shutil.rmtree(upstream.output / "bin", ignore_errors=True)
    fresh.rename(upstream.output / "bin")
    (upstream.output / "key").write_text(upstream.key())


def _mended_argo(upstream: Upstream) -> Path:
    """Return a build folder in which argoexec compiles.

    Upstream's ``signal_linux.go`` is a symbolic link, and module archives do not contain links. This copies the
    module out of the module cache, restores the file, and builds with the copy.
    """
    build = upstream.output / "build"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    copy = build / "argo-workflows"
    shutil.copytree(module_directory("argo", ARGO), copy)
    run(["chmod", "-R", "u+w", copy])
    signals = copy / "workflow" / "executor" / "osspecific"
    shutil.copy(signals / "signal_darwin.go", signals / "signal_linux.go")
    for name in ("go.mod", "go.sum"):
        shutil.copy(upstream.source / name, build / name)
    run(["go", "mod", "edit", "-replace", f"{ARGO}=./argo-workflows"], cwd=build, env=go_environment())
    return build
