"""Forecasts from data of the cluster and of registries. Changes neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ips_flows.core import clock
from ips_flows.core.constants import SERVICE_ACCOUNT_PULL
from ips_flows.core.errors import ApiError, ForbiddenError, NotFoundError, PlanError
from ips_flows.core.forecast import pin
from ips_flows.core.forecast.checks import forecast_of
from ips_flows.core.forecast.disk import Disk, read_disk
from ips_flows.core.forecast.duration import Bandwidth
from ips_flows.core.forecast.forecast import Forecast, ForecastInputs, images_to_ask
from ips_flows.core.forecast.issues import Issue, IssueKind
from ips_flows.core.forecast.node_info import NodeInfo, read_node_info
from ips_flows.core.forecast.pin import Pinned
from ips_flows.core.forecast.resolve import Resolved, Unresolved, resolve
from ips_flows.core.images.keyring import Credential, Keyring, has_provider, read_secret
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.eligibility import references
from ips_flows.core.plan.node import Node, read_node
from ips_flows.core.plan.plan import Plan, make_plan
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.reasons import FailureReason
from ips_flows.kube.client import Kube, core
from ips_flows.operations import settings
from ips_flows.registry.client import ManifestCache, RegistryIO, Repository
from ips_flows.registry.parallel import map_bounded


@dataclass(frozen=True, slots=True)
class ForecastOptions:
    """Options of a forecast: bandwidth, registries with plain HTTP, whether to read disk usage from kubelets."""

    bandwidth: Bandwidth
    insecure: frozenset[str] = frozenset()
    check_disk: bool = False
    io: RegistryIO | None = None


@dataclass(frozen=True, slots=True)
class _Access:
    """Access to registries with some pull Secrets.

    `cache` holds manifests fetched with these Secrets; other credentials may not be allowed to fetch them.
    """

    keyring: Keyring
    issues: Sequence[Issue]
    cache: ManifestCache = field(default_factory=ManifestCache)


class Forecaster:
    """Makes forecasts for requests in a namespace. Reads credentials once, and each manifest once per credentials."""

    def __init__(self, kube: Kube, namespace: str, options: ForecastOptions) -> None:
        self._kube = kube
        self._namespace = namespace
        self._options = options
        self._accesses: dict[tuple[str, ...], _Access] = {}  # by the names of pull Secrets

    def pinned(self, request: PrewarmRequest) -> Pinned:
        """Return the request with a digest for every tag. Raises PlanError if a registry returns none."""
        images = pin.unpinned(request)
        found = dict(zip(images, self._resolve_all(request, [(image, ()) for image in images]), strict=True))
        problems = [
            f"{image} can't be pinned: {resolution.failure.value}: {resolution.message}"
            for image, resolution in found.items()
            if isinstance(resolution, Unresolved)
        ]
        if problems:
            raise PlanError("\n".join(problems), hint="Without --pin, each node resolves the tag itself.")
        digests = {image: one.digest for image, one in found.items() if isinstance(one, Resolved)}
        return pin.pin(request, digests)

    def forecast(self, request: PrewarmRequest) -> Forecast:
        """Return the forecast of a task with this request. Raises PlanError if no node is eligible."""
        worker = settings.worker_image(self._kube, self._namespace)
        node_info: dict[str, NodeInfo] = {}
        notes: list[Issue] = []
        plan = make_plan(
            request,
            self._nodes(request, worker, node_info),
            worker_image=worker,
            started=clock.now(),
            image_volumes_kept=lambda: self._volumes_kept(request, worker, notes),
        )
        resolutions = self._resolve_all(request, list(_questions(request, plan, node_info, worker)))
        disks = self._disks(plan) if self._options.check_disk else None
        return forecast_of(
            ForecastInputs(
                request,
                plan,
                node_info,
                resolutions[:-1],
                worker,
                resolutions[-1],
                self._options.bandwidth,
                disks,
                (*notes, *(self._access(request).issues if any(resolutions) else ())),
            )
        )

    def _nodes(self, request: PrewarmRequest, worker: str, node_info: dict[str, NodeInfo]) -> Iterator[Node]:
        """Yield the nodes for the plan, page by page. Adds the NodeInfo of each to `node_info`."""
        wanted, tool = references(request), parse_reference(worker)
        for raw in self._kube.list(core("", "nodes")):
            node = read_node(raw)
            node_info[node.name] = read_node_info(raw, node, wanted, tool)
            yield node

    def _volumes_kept(self, request: PrewarmRequest, worker: str, notes: list[Issue]) -> bool:
        try:
            return settings.keeps_image_volumes(self._kube, self._namespace, request, worker)
        except ForbiddenError as error:
            message = f"not checked whether the API server stores image volumes: {error.message}"
            hint = "If it does not store them, the task uses mode container."
            notes.append(Issue("warning", IssueKind.MODE, message, hint=hint))
            return True

    def _resolve_all(
        self, request: PrewarmRequest, questions: Sequence[tuple[str, Iterable[str]] | None]
    ) -> list[Resolved | Unresolved | None]:
        """Resolve each reference for its architectures, in the same order; None results in None."""
        if not any(questions):
            return [None for _ in questions]
        access = self._access(request)
        return map_bounded(lambda one: self._resolve(access, *one) if one else None, questions)

    def _access(self, request: PrewarmRequest) -> _Access:
        names = request.pull_secrets
        if names not in self._accesses:
            self._accesses[names] = _Access(*read_keyring(self._kube, self._namespace, names))
        return self._accesses[names]

    def _resolve(self, access: _Access, image: str, architectures: Iterable[str]) -> Resolved | Unresolved:
        reference = parse_reference(image)
        chosen = access.keyring.credentials_for(reference)
        with Repository(
            reference, chosen, insecure=self._options.insecure, cache=access.cache, io=self._options.io
        ) as repository:
            found = resolve(repository, reference.digest or reference.tag or "latest", architectures)
        if isinstance(found, Unresolved) and found.failure is FailureReason.UNAUTHORIZED and not chosen:
            if has_provider(reference.registry):
                words = f"{found.message}; nodes may have a credential provider for this registry"
                return Unresolved(found.failure, words, certain=False)
            if not access.keyring.whole:
                return Unresolved(
                    found.failure, f"{found.message}; a Secret could not be read", certain=False
                )
        return found

    def _disks(self, plan: Plan) -> Mapping[str, Disk | None]:
        """Read the disks of the planned nodes from their kubelets. Raises ForbiddenError without `nodes/proxy`."""
        names = [node.name for group in plan.groups for node in group.nodes]
        return dict(zip(names, map_bounded(self._disk, names), strict=True))

    def _disk(self, name: str) -> Disk | None:
        proxy = core("", "nodes", f"{name}/proxy")
        try:
            summary = self._kube.get(f"{proxy}/stats/summary")
        except ForbiddenError:
            raise
        except ApiError:
            return None
        try:
            configuration = self._kube.get(f"{proxy}/configz")
        except ApiError:  # configz may be disabled in the kubelet
            configuration = {}
        return read_disk(summary, configuration)


def read_keyring(kube: Kube, namespace: str, names: Sequence[str]) -> tuple[Keyring, list[Issue]]:
    """Read the pull Secrets of the pull pods: the Secrets in `names`, else those of their ServiceAccount."""
    issues: list[Issue] = []
    found: list[Credential] = []
    whole = True
    if not names:
        try:
            account = kube.get(core(namespace, "serviceaccounts", SERVICE_ACCOUNT_PULL))
            names = [one["name"] for one in account.get("imagePullSecrets") or ()]
        except NotFoundError:
            names = ()
        except ForbiddenError as error:
            whole = False
            message = (
                f"the pull Secrets of ServiceAccount {SERVICE_ACCOUNT_PULL} were not read: {error.message}"
            )
            issues.append(Issue("warning", IssueKind.PULL_SECRET, message))
    for name in names:
        try:
            found += read_secret(kube.get(core(namespace, "secrets", name)))
        except NotFoundError:
            message = f"Secret {name} does not exist in namespace {namespace}; nodes pull without it"
            issues.append(
                Issue("warning", IssueKind.PULL_SECRET, message, hint=f"kubectl -n {namespace} get secrets")
            )
        except ForbiddenError as error:
            whole = False
            message = f"Secret {name} was not read, so registries were queried without it: {error.message}"
            issues.append(Issue("warning", IssueKind.PULL_SECRET, message))
        except ValueError as error:
            issues.append(Issue("warning", IssueKind.PULL_SECRET, f"Secret {name}: {error}"))
    return Keyring(found, whole), issues


def _questions(
    request: PrewarmRequest, plan: Plan, node_info: Mapping[str, NodeInfo], worker: str
) -> Iterator[tuple[str, frozenset[str]] | None]:
    """Yield the registry queries: each image that nodes need, with their architectures; the worker image is last."""
    asked_by = {node.name: images_to_ask(request, node) for group in plan.groups for node in group.nodes}
    for index, spec in enumerate(request.images):
        asking = frozenset(node_info[name].architecture for name, asked in asked_by.items() if index in asked)
        yield (spec.image, asking) if asking else None
    lacking = frozenset(node_info[name].architecture for name in asked_by if not node_info[name].worker)
    yield (worker, lacking) if lacking else None
