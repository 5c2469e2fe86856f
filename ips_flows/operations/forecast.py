"""Looks at the cluster and at registries, and changes neither: what a forecast is made of."""

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
from ips_flows.core.images import keyring as creds
from ips_flows.core.images.keyring import Credential
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
    """How to look: at what bandwidth, which registries speak plain HTTP, whether kubelets are asked for their disks."""

    bandwidth: Bandwidth
    insecure: frozenset[str] = frozenset()
    check_disk: bool = False
    io: RegistryIO | None = None


class Forecaster:
    """Whoever looks for some requests: credentials are read once, and each manifest asked for once with them."""

    def __init__(self, kube: Kube, namespace: str, options: ForecastOptions) -> None:
        self._kube = kube
        self._namespace = namespace
        self._wishes = options
        self._wallets: dict[tuple[str, ...], Keyring] = {}  # by the names of pull Secrets

    def pinned(self, request: PrewarmRequest) -> Pinned:
        """The request with a digest for every tag. Raises PlanError where a registry tells none."""
        wanted = pin.unpinned(request)
        found = dict(zip(wanted, self._offers(request, [(image, ()) for image in wanted]), strict=True))
        problems = [
            f"{image} can't be pinned: {offer.failure.value}: {offer.message}"
            for image, offer in found.items()
            if isinstance(offer, Unresolved)
        ]
        if problems:
            raise PlanError(
                "\n".join(problems), hint="Without --pin each node asks the registry for the tag."
            )
        return pin.pin(
            request, {image: offer.digest for image, offer in found.items() if isinstance(offer, Resolved)}
        )

    def forecast(self, request: PrewarmRequest) -> Forecast:
        """What a task of this request would do now. Raises PlanError where no node is eligible."""
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
        offers = self._offers(request, list(_questions(request, plan, node_info, worker)))
        disks = self._disks(plan) if self._wishes.check_disk else None
        return forecast_of(
            ForecastInputs(
                request,
                plan,
                node_info,
                offers[:-1],
                worker,
                offers[-1],
                self._wishes.bandwidth,
                disks,
                (*notes, *(self._keyring(request).issues if any(offers) else ())),
            )
        )

    def _nodes(self, request: PrewarmRequest, worker: str, node_info: dict[str, NodeInfo]) -> Iterator[Node]:
        """The nodes for the plan, page by page; what else is to be known of each is put into `facts`."""
        wanted, tool = references(request), parse_reference(worker)
        for raw in self._kube.list(core("", "nodes")):
            node = read_node(raw)
            node_info[node.name] = read_node_info(raw, node, wanted, tool)
            yield node

    def _volumes_kept(self, request: PrewarmRequest, worker: str, notes: list[Issue]) -> bool:
        try:
            return settings.keeps_image_volumes(self._kube, self._namespace, request, worker)
        except ForbiddenError as error:
            message = f"whether the API server stores image volumes was not seen: {error.message}"
            notes.append(
                Issue(
                    "warning", IssueKind.MODE, message, hint="A task takes mode container where it does not."
                )
            )
            return True

    def _offers(
        self, request: PrewarmRequest, questions: Sequence[tuple[str, Iterable[str]] | None]
    ) -> list[Resolved | Unresolved | None]:
        """What registries offer under references for architectures; one answer a question, None for none."""
        if not any(questions):
            return [None for _ in questions]
        keyring = self._keyring(request)
        return map_bounded(lambda one: self._offer(keyring, *one) if one else None, questions)

    def _keyring(self, request: PrewarmRequest) -> Keyring:
        names = request.pull_secrets
        if names not in self._wallets:
            self._wallets[names] = read_keyring(self._kube, self._namespace, names)
        return self._wallets[names]

    def _offer(self, keyring: Keyring, image: str, architectures: Iterable[str]) -> Resolved | Unresolved:
        reference = parse_reference(image)
        chosen = creds.credentials_for(keyring.credentials, reference)
        with Repository(
            reference, chosen, insecure=self._wishes.insecure, cache=keyring.cache, io=self._wishes.io
        ) as source:
            found = resolve(source, reference.digest or reference.tag or "latest", architectures)
        if isinstance(found, Unresolved) and found.failure is FailureReason.UNAUTHORIZED and not chosen:
            if creds.has_provider(reference.registry):
                words = f"{found.message}; nodes may have a credential provider for it"
                return Unresolved(found.failure, words, certain=False)
            if not keyring.whole:
                return Unresolved(
                    found.failure, f"{found.message}; a Secret could not be read", certain=False
                )
        return found

    def _disks(self, plan: Plan) -> Mapping[str, Disk | None]:
        """What the kubelets of the nodes to do say of their disks. Raises ForbiddenError without `nodes/proxy`."""
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
        except ApiError:  # a kubelet may have it switched off
            configuration = {}
        return read_disk(summary, configuration)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The credentials of the pull Secrets. `whole` is whether every Secret that is there could be read.

    `cache` has what was fetched with them, which others may not be allowed to fetch.
    """

    credentials: Sequence[Credential]
    issues: Sequence[Issue] = ()
    whole: bool = True
    cache: ManifestCache = field(default_factory=ManifestCache)


def read_keyring(kube: Kube, namespace: str, names: Sequence[str]) -> Keyring:
    """Read the Secrets that the pull pods will have: the named ones, else those of their ServiceAccount."""
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
                f"the pull Secrets of ServiceAccount {SERVICE_ACCOUNT_PULL} were not seen: {error.message}"
            )
            issues.append(Issue("warning", IssueKind.PULL_SECRET, message))
    for name in names:
        try:
            found += creds.read_secret(kube.get(core(namespace, "secrets", name)))
        except NotFoundError:
            message = f"Secret {name} is not in namespace {namespace}; nodes pull without it"
            issues.append(
                Issue("warning", IssueKind.PULL_SECRET, message, hint=f"kubectl -n {namespace} get secrets")
            )
        except ForbiddenError as error:
            whole = False
            message = f"Secret {name} was not read, so images were asked for without it: {error.message}"
            issues.append(Issue("warning", IssueKind.PULL_SECRET, message))
        except ValueError as error:
            issues.append(Issue("warning", IssueKind.PULL_SECRET, f"Secret {name}: {error}"))
    return Keyring(found, issues, whole)


def _questions(
    request: PrewarmRequest, plan: Plan, node_info: Mapping[str, NodeInfo], worker: str
) -> Iterator[tuple[str, frozenset[str]] | None]:
    """What to ask registries: each image that some node asks for, with the nodes' architectures; the worker's last."""
    options = {node.name: images_to_ask(request, node) for group in plan.groups for node in group.nodes}
    for index, spec in enumerate(request.images):
        asking = frozenset(node_info[name].architecture for name, asked in options.items() if index in asked)
        yield (spec.image, asking) if asking else None
    lacking = frozenset(node_info[name].architecture for name in options if not node_info[name].worker)
    yield (worker, lacking) if lacking else None
