"""The table of request fields. Flags, the Argo UI's form, the page and the documents are derived from it.

A new field needs a record here, its type and default in `model.PrewarmRequest`, and its texts in the page's
dictionaries. Then run `python -m tests.docs` (the page's list of fields, the example, the README), `ips-flow render`
(the form) and `python -m tests.contracts` (the record).
The table has the order of the page. Flags and the form keep their own orders in `position`, because users know them.
This module has no third-party import, because every help page loads it.
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

# The syntax of a field's value as text, in flags, in the Argo UI's form and on the page:
# text: unchanged · duration, url: unchanged, and never a number · number: a whole number · size: a number or a percentage · boolean: true or false
# lines: one item per line · names, sizes: comma-separated items · pairs: key=value · tolerations: the syntax of kubectl taint
Syntax = Literal[
    "text", "duration", "url", "number", "size", "boolean", "lines", "names", "sizes", "pairs", "tolerations"
]
_LONGEST_DELAY = f"{LONGEST_RETRY_DELAY // 60}m"
_SEVERAL: frozenset[Syntax] = frozenset({"lines", "names", "sizes", "pairs", "tolerations"})


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page's form, of the example and of the README. With `open`, the page shows it expanded."""

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
    """The field's parameter of the WorkflowTemplate, shown in the Argo UI's form. Its value is the default."""

    position: int
    name: str
    help: str


@dataclass(frozen=True, slots=True)
class RequestField:
    """One field of a request. Its type and its default are in the model.

    `name` is the wire name. `meaning` is the text in the README. `example` has the lines of
    `deploy/examples/images.yaml`. `form` is None if the Argo UI's form has no parameter for the field. `on_page` is
    False if the page has no input for it.
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
        """Return whether the field has several items, so that its flag can be repeated."""
        return self.syntax in _SEVERAL


SECTIONS = (
    Section("what", "Images", open=True),
    Section("pace", "Pace", open=True),
    Section(
        "where",
        "Nodes",
        example="# Nodes to warm. A node must meet all conditions. Without conditions, all eligible nodes are warmed.",
    ),
    Section("trouble", "Retries and limits"),
    Section(
        "notice",
        "Webhook and labels",
        example="# Webhook that receives the result. The Secret has the label ips-flow.io/webhook=true"
        " and the key `url`, `secret` or both.",
    ),
)

FIELDS = (
    RequestField(
        name="images",
        default_text="images of FILE",
        section="what",
        syntax="lines",
        meaning="Images to warm. An item is a reference, or a mapping with `image` and its own `pullPolicy`.",
        flag=Flag(1, "--image", "Image to warm; repeatable.", "IMAGE"),
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
        meaning="Name of the task. If omitted, a name is generated.",
        flag=Flag(23, "--name", "Name of the task, instead of a generated name.", "NAME"),
        form=None,
        example="# name: nightly-images # if omitted, a name is generated\n",
    ),
    RequestField(
        name="pullPolicy",
        default_text="IfNotPresent",
        section="what",
        syntax="text",
        meaning="`IfNotPresent` pulls only missing images. `Always` also checks the registry for images that the node has;"
        " use it for tags that move.",
        flag=Flag(17, "--pull-policy", f"Pull policy: {either(PullPolicy)}.", "NAME"),
        form=FormParameter(9, "pull-policy", "IfNotPresent, or Always to check the registry for moved tags"),
        example="pullPolicy: IfNotPresent # Always checks the registry again, for tags that move\n",
    ),
    RequestField(
        name="pullSecrets",
        default_text="none",
        section="what",
        syntax="names",
        meaning="Image pull Secrets in the namespace of the task.",
        flag=Flag(
            16,
            "--pull-secrets",
            "Image pull Secrets in the task's namespace; comma-separated or repeatable.",
            "NAMES",
        ),
        form=FormParameter(10, "pull-secrets", "Names of image pull Secrets, separated by commas"),
        example="# pullSecrets: [registry-credentials] # image pull Secrets in the task's namespace\n",
    ),
    RequestField(
        name="batchSize",
        default_text="10",
        section="pace",
        syntax="size",
        meaning="Nodes that pull at the same time. A percentage is of the eligible nodes.",
        flag=Flag(2, "--batch-size", "Nodes that pull at the same time.", "N|N%"),
        form=FormParameter(
            2,
            "batch-size",
            f"Nodes that pull at the same time: {BATCH_SIZE.short}, or a percentage such as 10%",
        ),
        example=f"""\
batchSize: "10%" # nodes that pull at the same time: {BATCH_SIZE}, or a percentage of the eligible nodes
""",
    ),
    RequestField(
        name="priority",
        default_text="5",
        section="pace",
        syntax="number",
        meaning="Priority of the task in the queue.",
        flag=Flag(3, "--priority", f"Priority in the queue; {PRIORITY.high} goes first.", PRIORITY.short),
        form=FormParameter(
            3, "priority", f"Priority in the queue: {PRIORITY.short}; {PRIORITY.high} goes first"
        ),
        example=f"priority: 5 # in the queue: {PRIORITY}; {PRIORITY.high} goes first\n",
    ),
    RequestField(
        name="waves",
        default_text="one wave",
        section="pace",
        syntax="sizes",
        meaning="Cumulative numbers or percentages of nodes. A wave starts when the previous wave has succeeded.",
        flag=Flag(
            18,
            "--waves",
            'Cumulative sizes of waves. "1,10%,100%": first 1 node, then up to 10% of the nodes, then all.',
            "SIZES",
        ),
        form=FormParameter(
            11, "waves", "Cumulative sizes of waves, such as 1, 10%, 100%; empty: all nodes in one wave"
        ),
        example="""\
# The first node is the canary: a wave starts when the previous wave has succeeded. Sizes are cumulative.
waves: [1, "10%", "100%"]
""",
    ),
    RequestField(
        name="order",
        default_text="rolling",
        section="pace",
        syntax="text",
        meaning="`rolling`: the next node starts when any node finishes. `batch`: the next `batchSize` nodes start when"
        " all nodes of the batch have finished.",
        flag=Flag(
            19,
            "--order",
            "rolling: start a node when any node finishes; batch: when all nodes of the batch have finished.",
            "NAME",
        ),
        form=FormParameter(
            12,
            "order",
            "rolling: the next node starts when any node finishes; batch: when all nodes of the batch have finished",
        ),
        example="order: rolling # the next node starts when any node finishes;"
        " batch: when all nodes of the batch have finished\n",
    ),
    RequestField(
        name="nodeSelector",
        default_text="all nodes",
        section="where",
        syntax="pairs",
        meaning="Labels that a node must have.",
        flag=Flag(
            4,
            "--node-selector",
            "Label that a node must have, in addition to --selector; repeatable.",
            "KEY=VALUE",
        ),
        form=FormParameter(4, "node-selector", "Labels that a node must have, such as disk=ssd,zone=a"),
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
        meaning="Set-based label selector that a node must match, in the syntax of `kubectl -l`.",
        flag=Flag(
            6,
            "--selector",
            "Set-based label selector that a node must match, in addition to --node-selector.",
            "LABELS",
        ),
        form=FormParameter(
            5, "selector", "Set-based label selector that a node must match, such as zone in (a,b),!gpu"
        ),
        example='# selector: "disktype in (ssd,nvme),!example.com/quarantine"\n',
    ),
    RequestField(
        name="nodes",
        default_text="all nodes",
        section="where",
        syntax="names",
        meaning="Names of the nodes to warm. Other nodes are skipped.",
        flag=Flag(5, "--nodes", "Warm only these nodes; comma-separated or repeatable.", "NAMES"),
        form=FormParameter(6, "nodes", "Names of the nodes to warm, separated by commas; empty: all nodes"),
        example="# nodes: [worker-1, worker-2]\n",
    ),
    RequestField(
        name="excludeNodes",
        default_text="none",
        section="where",
        syntax="names",
        meaning="Names of nodes to skip.",
        flag=Flag(7, "--exclude-nodes", "Skip these nodes; comma-separated or repeatable.", "NAMES"),
        form=FormParameter(7, "exclude-nodes", "Names of nodes to skip, separated by commas"),
        example="# excludeNodes: [worker-9]\n",
    ),
    RequestField(
        name="includeCordoned",
        default_text="off",
        section="where",
        syntax="boolean",
        meaning="`true` warms cordoned nodes too.",
        flag=Flag(8, "--include-cordoned", "Warm cordoned nodes too."),
        form=FormParameter(8, "include-cordoned", "Warm cordoned nodes too: true or false"),
        example="# includeCordoned: false\n",
    ),
    RequestField(
        name="tolerations",
        default_text="tolerate all taints",
        section="where",
        syntax="tolerations",
        meaning="Tolerations of the pull pods. If omitted, all taints are tolerated; an empty list tolerates none.",
        flag=Flag(
            9,
            "--tolerations",
            "Tolerations of the pull pods, instead of tolerating all taints.",
            "KEY[=VALUE][:EFFECT]",
        ),
        form=None,
        on_page=False,
        example="""\
# tolerations: # if omitted, all taints are tolerated; [] tolerates none
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
        meaning="Number of retries of a wave. A retry takes only the nodes that still fail.",
        flag=Flag(10, "--max-retries", "Number of retries for failed nodes.", RETRIES.short),
        form=FormParameter(14, "max-retries", f"Number of retries for failed nodes: {RETRIES.short}"),
        example=f"maxRetries: 2 # {RETRIES}: number of retries of a wave, with the nodes that still fail\n",
    ),
    RequestField(
        name="retryStrategy",
        default_text="linear",
        section="trouble",
        syntax="text",
        meaning="`linear`: the same delay each time."
        f" `exponential`: the delay doubles each time, at most {_LONGEST_DELAY}.",
        flag=Flag(
            11,
            "--retry-strategy",
            "Delay before further retries: linear (constant) or exponential (doubled each time).",
            "NAME",
        ),
        form=FormParameter(
            15,
            "retry-strategy",
            f"linear: the same delay each time; exponential: the delay doubles each time, at most {_LONGEST_DELAY}",
        ),
        example=f"retryStrategy: exponential # the delay doubles each time, at most {_LONGEST_DELAY};"
        " linear: the same delay each time\n",
    ),
    RequestField(
        name="retryDelay",
        default_text="30",
        section="trouble",
        syntax="number",
        meaning="Delay before the first retry, in seconds.",
        flag=Flag(12, "--retry-delay", f"Delay before the first retry, {RETRY_DELAY} seconds.", "SECONDS"),
        form=FormParameter(
            16, "retry-delay", f"Delay before the first retry, in seconds: {RETRY_DELAY.short}"
        ),
        example=f"retryDelay: 30 # delay before the first retry, in seconds: {RETRY_DELAY}\n",
    ),
    RequestField(
        name="maxFailedNodes",
        default_text="0",
        section="trouble",
        syntax="size",
        meaning="Nodes that may fail after all retries, with the task still completed.",
        flag=Flag(20, "--max-failed-nodes", "Nodes that may fail with the task still completed.", "N|N%"),
        form=FormParameter(
            13,
            "max-failed-nodes",
            "Nodes that may fail with the task still completed: a number, or a percentage such as 5%",
        ),
        example="""\
maxFailedNodes: "1%" # nodes that may fail after all retries, with the task still completed; default 0
""",
    ),
    RequestField(
        name="nodeTimeout",
        default_text="10m",
        section="trouble",
        syntax="duration",
        meaning="Time limit for one node in one attempt.",
        flag=Flag(21, "--node-timeout", "Time limit for one node in one attempt.", "DURATION"),
        form=FormParameter(20, "node-timeout", "Time limit for one node in one attempt, such as 10m"),
        example=f"nodeTimeout: 10m # time limit for one node in one attempt: {' to '.join(NODE_TIMEOUT)}\n",
    ),
    RequestField(
        name="timeout",
        default_text="2h",
        section="trouble",
        syntax="duration",
        meaning="Time limit for the whole task.",
        flag=Flag(22, "--task-timeout", "Time limit for the whole task (field `timeout`).", "DURATION"),
        form=FormParameter(21, "task-timeout", "Time limit for the whole task, such as 2h"),
        example=f"timeout: 2h # time limit for the whole task: {' to '.join(TASK_TIMEOUT)}\n",
    ),
    RequestField(
        name="webhookUrl",
        default_text="none",
        section="notice",
        syntax="url",
        meaning="URL that receives the result by POST. Every user who can read the task can read the URL.",
        flag=Flag(13, "--webhook-url", "URL that receives the result by POST.", "URL"),
        form=FormParameter(17, "webhook-url", "http or https URL that receives the result by POST"),
        example="# webhookUrl: https://hooks.example.com/ips-flow\n",
    ),
    RequestField(
        name="webhookSecretName",
        default_text="none",
        section="notice",
        syntax="text",
        meaning="Secret with the label `ips-flow.io/webhook=true` and the webhook's `url`, its signing key `secret`,"
        " or both.",
        flag=Flag(14, "--webhook-secret-name", "Secret with the webhook's URL, signing key or both.", "NAME"),
        form=FormParameter(
            18,
            "webhook-secret-name",
            "Secret with the label ips-flow.io/webhook=true and the key url, secret or both",
        ),
        example="# webhookSecretName: hook\n",
    ),
    RequestField(
        name="webhookFormat",
        default_text="json",
        section="notice",
        syntax="text",
        meaning="Format of the message that the webhook receives.",
        flag=Flag(15, "--webhook-format", f"Format of the webhook message: {either(WebhookFormat)}.", "NAME"),
        form=FormParameter(19, "webhook-format", f"Format of the webhook message: {either(WebhookFormat)}"),
        example=f"# webhookFormat: {words(WebhookFormat)[0]} # or {', '.join(words(WebhookFormat)[1:])}\n",
    ),
    RequestField(
        name="labels",
        default_text="none",
        section="notice",
        syntax="pairs",
        meaning="Labels of the task's Workflow.",
        flag=Flag(24, "--labels", "Label of the task's Workflow; repeatable.", "KEY=VALUE"),
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
    """Return all fields in the order of their flags on help pages."""
    return sorted(FIELDS, key=lambda field: field.flag.position)


def form_parameters() -> list[tuple[RequestField, FormParameter]]:
    """Return the fields of the Argo UI's form, in its order."""
    return sorted(((field, field.form) for field in FIELDS if field.form), key=lambda pair: pair[1].position)


def flag_of(name: str) -> str:
    """Return the flag of a field. For an unknown name, return `--` and the name in kebab-case."""
    field = BY_NAME.get(name)
    return field.flag.name if field else "--" + "".join(f"-{c.lower()}" if c.isupper() else c for c in name)
