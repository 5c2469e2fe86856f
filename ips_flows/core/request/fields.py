"""The table of request fields: ONE record a field, from which flags, the Argo UI's form, the page and documents come.

A new field needs a record here, its type and default in `model.PrewarmRequest`, and its texts in the page's
dictionaries. `python -m tests.docs` then writes the page's list of fields, the example and the README, `ips-flow render`
the form, `python -m tests.contracts` the record.
The table has the order of the page. Flags and the form have their own orders, which users know: their `position`.
No third-party import: a help page needs this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ips_flows.core.request.choices import PullPolicy, WebhookFormat, either, words
from ips_flows.core.request.limits import (
    BATCH_SIZE,
    IMAGES,
    LONGEST_RETRY_DELAY,
    NODE_TIMEOUT,
    PRIORITY,
    RETRIES,
    RETRY_DELAY,
    TASK_TIMEOUT,
)

# How a text becomes the value of a field, in flags, in the Argo UI's form and on the page:
# text: as it is · duration, url: as it is, and never a number · number: a whole number · size: a number or a percentage · boolean: true or false
# lines: one item a line · names, sizes: items with commas between · pairs: key=value · tolerations: as kubectl's taints
Syntax = Literal[
    "text", "duration", "url", "number", "size", "boolean", "lines", "names", "sizes", "pairs", "tolerations"
]
_LONGEST_DELAY = f"{LONGEST_RETRY_DELAY // 60}m"
_SEVERAL: frozenset[Syntax] = frozenset({"lines", "names", "sizes", "pairs", "tolerations"})


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page's form, of the example and of the README. `open`: the page shows it unfolded."""

    name: str
    title: str
    open: bool = False
    example: str = ""  # a comment above the section's fields


@dataclass(frozen=True, slots=True)
class Flag:
    """The flag of a field on the command line."""

    position: int
    name: str
    help: str
    metavar: str | None = None


@dataclass(frozen=True, slots=True)
class FormParameter:
    """The field's parameter of the WorkflowTemplate, which the Argo UI's form shows. Its value is the default."""

    position: int
    name: str
    help: str


@dataclass(frozen=True, slots=True)
class RequestField:
    """One field of a request. Its type and its default are in the model.

    `name` is the wire name. `meaning` is for the README, `example` the lines of `deploy/examples/images.yaml`.
    `form` is None where the Argo UI's form has no such parameter; `on_page` False where the page has no such field.
    """

    name: str
    default_text: str  # for help pages, which do not import the model; a test compares both
    section: str
    syntax: Syntax
    meaning: str
    flag: Flag
    form: FormParameter | None
    example: str
    on_page: bool = True

    @property
    def several(self) -> bool:
        """Whether the field holds several items, so that its flag may be repeated."""
        return self.syntax in _SEVERAL


SECTIONS = (
    Section("what", "Images", open=True),
    Section("pace", "Pace", open=True),
    Section(
        "where",
        "Nodes",
        example="# Which nodes. All conditions must be met; without any, every node counts.",
    ),
    Section("trouble", "Retries and limits"),
    Section(
        "notice",
        "Webhook and labels",
        example="# Who is told of the end. The Secret carries the label ips-flow.io/webhook=true"
        " and has keys `url`, `secret` or both.",
    ),
)

FIELDS = (
    RequestField(
        name="images",
        default_text="images of FILE",
        section="what",
        syntax="lines",
        meaning="Images to warm. An item is a reference, or a mapping with `image` and its own `pullPolicy`.",
        flag=Flag(1, "--image", "An image; repeatable.", "IMAGE"),
        form=FormParameter(1, "images", "Images, one per line"),
        example=f"""\
images: # {IMAGES}, by tag or digest
  - busybox:1.37
  - nginx:1.29-alpine
  - image: alpine:3.22
    pullPolicy: IfNotPresent # for this image alone
""",
    ),
    RequestField(
        name="name",
        default_text="generated",
        section="what",
        syntax="text",
        meaning="Name of the task. Left out, a name is generated.",
        flag=Flag(23, "--name", "The task's name, instead of a generated one.", "NAME"),
        form=None,
        example="# name: nightly-images # left out, a name is made\n",
    ),
    RequestField(
        name="pullPolicy",
        default_text="IfNotPresent",
        section="what",
        syntax="text",
        meaning="`Always` asks the registry again, also for an image that the node has: for tags that move.",
        flag=Flag(17, "--pull-policy", f"{either(PullPolicy)}.", "NAME"),
        form=FormParameter(9, "pull-policy", "IfNotPresent, or Always to check moving tags again"),
        example="pullPolicy: IfNotPresent # Always re-checks tags that move\n",
    ),
    RequestField(
        name="pullSecrets",
        default_text="none",
        section="what",
        syntax="names",
        meaning="Image pull Secrets in the namespace of the task.",
        flag=Flag(16, "--pull-secrets", "Image pull Secrets of the namespace.", "NAMES"),
        form=FormParameter(10, "pull-secrets", "Names of image pull Secrets, separated by commas"),
        example="# pullSecrets: [registry-credentials] # image pull Secrets of the task's namespace\n",
    ),
    RequestField(
        name="batchSize",
        default_text="10",
        section="pace",
        syntax="size",
        meaning="Nodes that pull at the same time. A percentage is of the eligible nodes.",
        flag=Flag(2, "--batch-size", "How many nodes may pull at once.", "N|N%"),
        form=FormParameter(
            2,
            "batch-size",
            f"How many nodes may pull at once: {BATCH_SIZE.short}, or a percentage such as 10%",
        ),
        example=f"""\
batchSize: "10%" # at most this many nodes pull at once: {BATCH_SIZE}, or a percentage of the eligible nodes
""",
    ),
    RequestField(
        name="priority",
        default_text="5",
        section="pace",
        syntax="number",
        meaning="Priority of the task in the queue.",
        flag=Flag(3, "--priority", f"{PRIORITY.high} goes first.", PRIORITY.short),
        form=FormParameter(3, "priority", f"{PRIORITY.short}, {PRIORITY.high} first"),
        example=f"priority: 5 # {PRIORITY}; {PRIORITY.high} goes first\n",
    ),
    RequestField(
        name="waves",
        default_text="one wave",
        section="pace",
        syntax="sizes",
        meaning="Cumulative numbers or percentages of nodes. A wave starts when the one before has succeeded.",
        flag=Flag(18, "--waves", 'Cumulative sizes, such as "1,10%,100%".', "SIZES"),
        form=FormParameter(11, "waves", "Cumulative sizes: 1, 10%, 100%; empty: all nodes in one wave"),
        example="""\
# The first node is the canary: each wave starts when the one before has succeeded. Sizes are cumulative.
waves: [1, "10%", "100%"]
""",
    ),
    RequestField(
        name="order",
        default_text="rolling",
        section="pace",
        syntax="text",
        meaning="`rolling`: the next node starts when any finishes. `batch`: the next `batchSize` nodes start when"
        " all nodes of the batch have finished.",
        flag=Flag(19, "--order", "rolling, or batch: a barrier after every batchSize nodes.", "NAME"),
        form=FormParameter(
            12, "order", "rolling, or batch: the next nodes start when all of a batch have finished"
        ),
        example="order: rolling # the next node starts when any finishes;"
        " batch: a strict barrier every batchSize nodes\n",
    ),
    RequestField(
        name="nodeSelector",
        default_text="all nodes",
        section="where",
        syntax="pairs",
        meaning="Labels that a node must have.",
        flag=Flag(4, "--node-selector", "Nodes with this label; repeatable.", "KEY=VALUE"),
        form=FormParameter(4, "node-selector", "Labels that nodes must have: disk=ssd,zone=a"),
        example="""\
nodeSelector:
  kubernetes.io/os: linux
""",
    ),
    RequestField(
        name="selector",
        default_text="all nodes",
        section="where",
        syntax="text",
        meaning="A set-based label selector that a node must match, as `kubectl -l` takes it.",
        flag=Flag(6, "--selector", "Nodes by a set-based label selector.", "LABELS"),
        form=FormParameter(5, "selector", "A set-based label selector: zone in (a,b),!gpu"),
        example='# selector: "disktype in (ssd,nvme),!example.com/quarantine"\n',
    ),
    RequestField(
        name="nodes",
        default_text="all nodes",
        section="where",
        syntax="names",
        meaning="Names of nodes. Only these nodes are warmed.",
        flag=Flag(5, "--nodes", "Only these nodes; commas or repeatable.", "NAMES"),
        form=FormParameter(6, "nodes", "Names of nodes, separated by commas; empty: all"),
        example="# nodes: [worker-1, worker-2]\n",
    ),
    RequestField(
        name="excludeNodes",
        default_text="none",
        section="where",
        syntax="names",
        meaning="Names of nodes that are left out.",
        flag=Flag(7, "--exclude-nodes", "Not these nodes.", "NAMES"),
        form=FormParameter(7, "exclude-nodes", "Names of nodes to leave out, separated by commas"),
        example="# excludeNodes: [worker-9]\n",
    ),
    RequestField(
        name="includeCordoned",
        default_text="off",
        section="where",
        syntax="boolean",
        meaning="`true` warms cordoned nodes too.",
        flag=Flag(8, "--include-cordoned", "Cordoned nodes too."),
        form=FormParameter(8, "include-cordoned", "Whether cordoned nodes are warmed too"),
        example="# includeCordoned: false\n",
    ),
    RequestField(
        name="tolerations",
        default_text="tolerate all taints",
        section="where",
        syntax="tolerations",
        meaning="Tolerations of the pull pods. Left out, all taints are tolerated; an empty list tolerates none.",
        flag=Flag(9, "--tolerations", "Instead of all taints.", "KEY[=VALUE][:EFFECT]"),
        form=None,
        on_page=False,
        example="""\
# tolerations: # left out, all taints are tolerated; [] tolerates none
#   - key: dedicated
#     operator: Equal
#     value: gpu
#     effect: NoSchedule
""",
    ),
    RequestField(
        name="maxRetries",
        default_text="0",
        section="trouble",
        syntax="number",
        meaning="Times that a wave is tried again, with the nodes that failed.",
        flag=Flag(10, "--max-retries", "How often failed nodes are tried again.", RETRIES.short),
        form=FormParameter(14, "max-retries", f"How often failed nodes are tried again: {RETRIES.short}"),
        example=f"maxRetries: 2 # {RETRIES}: how often a wave is tried again, with the nodes that still fail\n",
    ),
    RequestField(
        name="retryStrategy",
        default_text="linear",
        section="trouble",
        syntax="text",
        meaning="`linear`: the same delay each time."
        f" `exponential`: the delay doubles each time, at most {_LONGEST_DELAY}.",
        flag=Flag(11, "--retry-strategy", "How that wait grows: linear (not at all) or exponential.", "NAME"),
        form=FormParameter(
            15,
            "retry-strategy",
            f"linear: the same delay each time; exponential: twice as long each time, at most {_LONGEST_DELAY}",
        ),
        example=f"retryStrategy: exponential # the delay doubles each time, at most {_LONGEST_DELAY};"
        " linear: always the same\n",
    ),
    RequestField(
        name="retryDelay",
        default_text="30",
        section="trouble",
        syntax="number",
        meaning="Seconds before the first retry.",
        flag=Flag(12, "--retry-delay", f"The wait before a retry: {RETRY_DELAY}.", "SECONDS"),
        form=FormParameter(16, "retry-delay", f"Seconds before the first retry: {RETRY_DELAY.short}"),
        example=f"retryDelay: 30 # seconds before the first retry: {RETRY_DELAY}\n",
    ),
    RequestField(
        name="maxFailedNodes",
        default_text="0",
        section="trouble",
        syntax="size",
        meaning="Nodes that may fail, after all retries, with the task still completed.",
        flag=Flag(20, "--max-failed-nodes", "How many nodes may be lost.", "N|N%"),
        form=FormParameter(
            13, "max-failed-nodes", "How many nodes may be lost: a number, or a percentage such as 5%"
        ),
        example="""\
maxFailedNodes: "1%" # how many nodes may be lost, retries spent, with the task still completed; default 0
""",
    ),
    RequestField(
        name="nodeTimeout",
        default_text="10m",
        section="trouble",
        syntax="duration",
        meaning="Time for one node in one attempt.",
        flag=Flag(21, "--node-timeout", "The time a node has for an attempt.", "DURATION"),
        form=FormParameter(20, "node-timeout", "How long one node may take"),
        example=f"nodeTimeout: 10m # one node, one attempt: {' to '.join(NODE_TIMEOUT)}\n",
    ),
    RequestField(
        name="timeout",
        default_text="2h",
        section="trouble",
        syntax="duration",
        meaning="Time for the whole task.",
        flag=Flag(22, "--task-timeout", "The time the task has (field `timeout`).", "DURATION"),
        form=FormParameter(21, "task-timeout", "How long the whole task may take"),
        example=f"timeout: 2h # the whole task: {' to '.join(TASK_TIMEOUT)}\n",
    ),
    RequestField(
        name="webhookUrl",
        default_text="none",
        section="notice",
        syntax="url",
        meaning="URL that receives the result by POST. Everyone who can read the task can read it.",
        flag=Flag(13, "--webhook-url", "Who is told of the end.", "URL"),
        form=FormParameter(17, "webhook-url", "Who is told of the end: an http or https URL"),
        example="# webhookUrl: https://hooks.example.com/ips-flow\n",
    ),
    RequestField(
        name="webhookSecretName",
        default_text="none",
        section="notice",
        syntax="text",
        meaning="Secret, labelled `ips-flow.io/webhook=true`, with the webhook's `url`, its signing key `secret`,"
        " or both.",
        flag=Flag(14, "--webhook-secret-name", "The Secret with the webhook's URL or key.", "NAME"),
        form=FormParameter(
            18,
            "webhook-secret-name",
            "A Secret labelled ips-flow.io/webhook=true with the webhook's url, secret, or both",
        ),
        example="# webhookSecretName: hook\n",
    ),
    RequestField(
        name="webhookFormat",
        default_text="json",
        section="notice",
        syntax="text",
        meaning="Format of the message that the webhook receives.",
        flag=Flag(15, "--webhook-format", f"{either(WebhookFormat)}.", "NAME"),
        form=FormParameter(19, "webhook-format", either(WebhookFormat)),
        example=f"# webhookFormat: {words(WebhookFormat)[0]} # or {', '.join(words(WebhookFormat)[1:])}\n",
    ),
    RequestField(
        name="labels",
        default_text="none",
        section="notice",
        syntax="pairs",
        meaning="Labels of the task's Workflow.",
        flag=Flag(24, "--labels", "Labels of the task; repeatable.", "KEY=VALUE"),
        form=None,
        example="""\
labels:
  team: platform
""",
    ),
)

BY_NAME = {field.name: field for field in FIELDS}
FORM_NAMES = {field.name: field.form.name for field in FIELDS if field.form}  # wire name → parameter


def in_order_of_flags() -> list[RequestField]:
    """All fields, as help pages list their flags."""
    return sorted(FIELDS, key=lambda field: field.flag.position)


def form_parameters() -> list[tuple[RequestField, FormParameter]]:
    """The fields that the Argo UI's form has, in its order."""
    return sorted(((field, field.form) for field in FIELDS if field.form), key=lambda pair: pair[1].position)


def flag_of(name: str) -> str:
    """The flag that sets a field; of a name that no field has, the name in kebab-case."""
    field = BY_NAME.get(name)
    return field.flag.name if field else "--" + "".join(f"-{c.lower()}" if c.isupper() else c for c in name)
