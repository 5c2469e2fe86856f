"""Looks at the cluster and at registries, and changes neither: what a forecast is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ips_flows.core import clock
from ips_flows.core.constants import SERVICE_ACCOUNT_PULL
from ips_flows.core.errors import ApiError, ForbiddenError, NotFoundError, PlanError
from ips_flows.core.forecast import pin
from ips_flows.core.forecast.checks import judge
from ips_flows.core.forecast.disk import Disk, read_disk
from ips_flows.core.forecast.duration import Pace
from ips_flows.core.forecast.forecast import Forecast, Survey, asks
from ips_flows.core.forecast.issues import Concern
from ips_flows.core.forecast.node_info import Facts, read_facts
from ips_flows.core.forecast.pin import Pinned
from ips_flows.core.forecast.resolve import Offer, Refusal, offered
from ips_flows.core.images import keyring as creds
from ips_flows.core.images.keyring import Credential
from ips_flows.core.images.reference import parse_reference
from ips_flows.core.plan.eligibility import Node, read_node, references
from ips_flows.core.plan.plan import Plan, make_plan
from ips_flows.core.request.model import PrewarmRequest
from ips_flows.core.results.results import Failure
from ips_flows.kube.client import Kube, core
from ips_flows.operations import settings
from ips_flows.registry.client import Cache, Means, Repository
from ips_flows.registry.parallel import side_by_side


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to look: at what bandwidth, which registries speak plain HTTP, whether kubelets are asked for their disks."""

    pace: Pace
    insecure: frozenset[str] = frozenset()
    check_disk: bool = False
    means: Means | None = None


class Observer:
    """Whoever looks for some requests: credentials are read once, and each manifest asked for once with them."""

    def __init__(self, kube: Kube, namespace: str, wishes: Wishes) -> None:
        self._kube = kube
        self._namespace = namespace
        self._wishes = wishes
        self._wallets: dict[tuple[str, ...], Wallet] = {}  # by the names of pull Secrets

    def pinned(self, request: PrewarmRequest) -> Pinned:
        """The request with a digest for every tag. Raises PlanError where a registry tells none."""
        wanted = pin.unpinned(request)
        found = dict(zip(wanted, self._offers(request, [(image, ()) for image in wanted]), strict=True))
        problems = [
            f"{image} can't be pinned: {offer.failure.value}: {offer.message}"
            for image, offer in found.items()
            if isinstance(offer, Refusal)
        ]
        if problems:
            raise PlanError(
                "\n".join(problems), hint="Without --pin each node asks the registry for the tag."
            )
        return pin.pin(
            request, {image: offer.digest for image, offer in found.items() if isinstance(offer, Offer)}
        )

    def forecast(self, request: PrewarmRequest) -> Forecast:
        """What a task of this request would do now. Raises PlanError where no node is eligible."""
        worker = settings.worker_image(self._kube, self._namespace)
        facts: dict[str, Facts] = {}
        notes: list[Concern] = []
        plan = make_plan(
            request,
            self._nodes(request, worker, facts),
            worker_image=worker,
            started=clock.now(),
            image_volumes_kept=lambda: self._volumes_kept(request, worker, notes),
        )
        offers = self._offers(request, list(_questions(request, plan, facts, worker)))
        disks = self._disks(plan) if self._wishes.check_disk else None
        return judge(
            Survey(
                request,
                plan,
                facts,
                offers[:-1],
                worker,
                offers[-1],
                self._wishes.pace,
                disks,
                (*notes, *(self._wallet(request).concerns if any(offers) else ())),
            )
        )

    def _nodes(self, request: PrewarmRequest, worker: str, facts: dict[str, Facts]) -> Iterator[Node]:
        """The nodes for the plan, page by page; what else is to be known of each is put into `facts`."""
        wanted, tool = references(request), parse_reference(worker)
        for raw in self._kube.list(core("", "nodes")):
            node = read_node(raw)
            facts[node.name] = read_facts(raw, node, wanted, tool)
            yield node

    def _volumes_kept(self, request: PrewarmRequest, worker: str, notes: list[Concern]) -> bool:
        try:
            return settings.image_volumes_kept(self._kube, self._namespace, request, worker)
        except ForbiddenError as error:
            message = f"whether the API server stores image volumes was not seen: {error.message}"
            notes.append(
                Concern("warning", "Mode", message, mend="A task takes mode container where it does not.")
            )
            return True

    def _offers(
        self, request: PrewarmRequest, questions: Sequence[tuple[str, Iterable[str]] | None]
    ) -> list[Offer | Refusal | None]:
        """What registries offer under references for architectures; one answer a question, None for none."""
        if not any(questions):
            return [None for _ in questions]
        wallet = self._wallet(request)
        return side_by_side(lambda one: self._offer(wallet, *one) if one else None, questions)

    def _wallet(self, request: PrewarmRequest) -> Wallet:
        names = request.pull_secrets
        if names not in self._wallets:
            self._wallets[names] = read_wallet(self._kube, self._namespace, names)
        return self._wallets[names]

    def _offer(self, wallet: Wallet, image: str, architectures: Iterable[str]) -> Offer | Refusal:
        reference = parse_reference(image)
        chosen = creds.for_image(wallet.credentials, reference)
        with Repository(
            reference, chosen, insecure=self._wishes.insecure, cache=wallet.cache, means=self._wishes.means
        ) as source:
            found = offered(source, reference.digest or reference.tag or "latest", architectures)
        if isinstance(found, Refusal) and found.failure is Failure.UNAUTHORIZED and not chosen:
            if creds.has_provider(reference.registry):
                words = f"{found.message}; nodes may have a credential provider for it"
                return Refusal(found.failure, words, certain=False)
            if not wallet.whole:
                return Refusal(found.failure, f"{found.message}; a Secret could not be read", certain=False)
        return found

    def _disks(self, plan: Plan) -> Mapping[str, Disk | None]:
        """What the kubelets of the nodes to do say of their disks. Raises ForbiddenError without `nodes/proxy`."""
        names = [node.name for group in plan.groups for node in group.nodes]
        return dict(zip(names, side_by_side(self._disk, names), strict=True))

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
class Wallet:
    """The credentials of the pull Secrets. `whole` is whether every Secret that is there could be read.

    `cache` has what was fetched with them, which others may not be allowed to fetch.
    """

    credentials: Sequence[Credential]
    concerns: Sequence[Concern] = ()
    whole: bool = True
    cache: Cache = field(default_factory=Cache)


def read_wallet(kube: Kube, namespace: str, names: Sequence[str]) -> Wallet:
    """Read the Secrets that the pull pods will have: the named ones, else those of their ServiceAccount."""
    concerns: list[Concern] = []
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
            concerns.append(Concern("warning", "PullSecret", message))
    for name in names:
        try:
            found += creds.read_secret(kube.get(core(namespace, "secrets", name)))
        except NotFoundError:
            message = f"Secret {name} is not in namespace {namespace}; nodes pull without it"
            concerns.append(
                Concern("warning", "PullSecret", message, mend=f"kubectl -n {namespace} get secrets")
            )
        except ForbiddenError as error:
            whole = False
            message = f"Secret {name} was not read, so images were asked for without it: {error.message}"
            concerns.append(Concern("warning", "PullSecret", message))
        except ValueError as error:
            concerns.append(Concern("warning", "PullSecret", f"Secret {name}: {error}"))
    return Wallet(found, concerns, whole)


def _questions(
    request: PrewarmRequest, plan: Plan, facts: Mapping[str, Facts], worker: str
) -> Iterator[tuple[str, frozenset[str]] | None]:
    """What to ask registries: each image that some node asks for, with the nodes' architectures; the worker's last."""
    wishes = {node.name: asks(request, node) for group in plan.groups for node in group.nodes}
    for index, spec in enumerate(request.images):
        asking = frozenset(facts[name].architecture for name, asked in wishes.items() if index in asked)
        yield (spec.image, asking) if asking else None
    lacking = frozenset(facts[name].architecture for name in wishes if not facts[name].worker)
    yield (worker, lacking) if lacking else None
