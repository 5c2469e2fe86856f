"""Format a forecast as text: pure functions from values to lines."""

from __future__ import annotations

from collections.abc import Sequence

from ips_flows.cli.output.tables import (
    NOTHING,
    counts,
    cut,
    fitted,
    human_bytes,
    human_seconds,
    table,
)
from ips_flows.core.counts import several
from ips_flows.core.forecast.forecast import Forecast, ImageForecast, to_do
from ips_flows.core.forecast.issues import Issue
from ips_flows.core.forecast.resolve import Resolved, Unresolved

_DIGEST_SHOWN = 19  # sha256: and 12 digits
_CUT = ({"IMAGE": 32, "DIGEST": 12}, {"IMAGE": 20, "PLATFORMS": 12})


def head_lines(forecast: Forecast) -> list[str]:
    """Return the summary of the plan: nodes, mode, window, waves, size and time."""
    plan = forecast.plan
    skipped = sum(plan.skipped.values())
    nodes = f"{plan.eligible} eligible: {plan.warm} warm, {plan.to_do} to do"
    nodes += f"; {skipped} skipped: {counts(plan.skipped)}" if skipped else ""
    waves = ", ".join(f"{wave.name} {wave.nodes}" for wave in plan.waves)
    order = ", a barrier after each batch" if forecast.request.order == "batch" else ""
    window = f"at most {plan.window} at the same time{order}" + (
        f"; nodes by wave: {waves}" if len(plan.waves) > 1 else ""
    )
    return table(
        ["NODES", nodes],
        [["MODE", f"{plan.mode}: {plan.mode_reason}"], ["WINDOW", window], ["ESTIMATE", estimate(forecast)]],
    ).splitlines()


def estimate(forecast: Forecast) -> str:
    """Return the number of bytes, and the time that they take at the given bandwidth."""
    if forecast.seconds is None:
        return "nothing to pull"
    busy = list(to_do(forecast.nodes))
    if not forecast.whole and not forecast.bytes:
        return f"unknown for {several(len(busy), 'node')}: no registry returned the size of a missing image"
    least = "" if forecast.whole else "at least "
    most = human_bytes(max(node.bytes for node in busy))
    each = f"at most {most} per node" if forecast.whole else f"at least {most} on one node"
    saved = max(node.saved for node in busy)
    shared = f" ({human_bytes(saved)} less because of shared layers)" if saved else ""
    rate = f"{human_bytes(forecast.bandwidth.node)}/s per node"
    if forecast.bandwidth.registry is not None:
        rate += f" and {human_bytes(forecast.bandwidth.registry)}/s in total"
    return (
        f"{least}{human_bytes(forecast.bytes)} on {several(len(busy), 'node')}, {each}{shared};"
        f" {least or 'about '}{human_seconds(forecast.seconds)} at {rate}"
    )


def forecast_image_table(forecast: Forecast, *, wide: bool = False, width: int | None = None) -> str:
    """Return a table with one image per row: the nodes that have it, and its data from the registry."""
    header = ["IMAGE", "PRESENT", "MISSING", "SIZE", "LAYERS", "PLATFORMS", "DIGEST"]
    rows = [_image_row(image, forecast.plan.eligible, wide=wide) for image in forecast.images]
    return table(header, rows) if wide else fitted(header, rows, width, _CUT)


def forecast_node_table(forecast: Forecast) -> str:
    """Return a table with one node per row: its missing images and their size, or the reason why it is skipped."""
    total = len(forecast.images)
    rows = [
        [
            node.name,
            node.state,
            node.reason or NOTHING,
            NOTHING if node.state == "skipped" else f"{len(node.held)}/{total}",
            (human_bytes(node.bytes) if node.whole else f"≥ {human_bytes(node.bytes)}")
            if node.state == "to do"
            else NOTHING,
            ", ".join(forecast.images[index].image for index in node.missing) or NOTHING,
        ]
        for node in forecast.nodes
    ]
    return table(["NODE", "STATE", "REASON", "PRESENT", "SIZE", "MISSING"], rows)


def issue_lines(issue: Issue) -> list[str]:
    """Return the lines of a problem: what is wrong, and the hint. The caller adds `error: ` or `warning: `."""
    where = f" on {issue.node}" if issue.nodes == 1 else ""
    if issue.nodes > 1:
        where = f" on {issue.nodes} nodes, such as {issue.node}"
    subject = f"{issue.image}: " if issue.image else ""
    lines = [f"{issue.kind}{where}: {subject}{cut(issue.message)}"]
    return lines + ([f"→ {issue.hint}"] if issue.hint else [])


def verdict_line(issues: Sequence[Issue]) -> str:
    """Return the verdict of all problems: whether a task would fail, and the numbers of errors and warnings."""
    errors = sum(issue.level == "error" for issue in issues)
    warnings = len(issues) - errors
    told = [several(errors, "error")] if errors else []
    told += [several(warnings, "warning")] if warnings else []
    if errors:
        return f"a task would fail: {', '.join(told)}"
    return f"no problem that would fail a task{': ' + told[0] if told else ''}"


def _image_row(image: ImageForecast, eligible: int, *, wide: bool) -> list[str]:
    resolution = image.resolved
    size = layers = platforms = digest = NOTHING
    if isinstance(resolution, Unresolved):
        digest = resolution.failure.value if resolution.certain else f"{resolution.failure.value}?"
    elif isinstance(resolution, Resolved):
        contents = {key: content for key, content in resolution.contents.items() if content}
        if contents:
            largest = max(contents.values(), key=lambda one: one.bytes)
            size, layers = human_bytes(largest.bytes), str(largest.layers)
        if wide and len(contents) > 1:
            size = ", ".join(f"{key} {human_bytes(content.bytes)}" for key, content in contents.items())
        platforms = ",".join(map(str, resolution.platforms)) or NOTHING
        digest = resolution.digest if wide else resolution.digest[:_DIGEST_SHOWN]
    return [image.image, f"{image.held}/{eligible}", str(image.missing), size, layers, platforms, digest]
