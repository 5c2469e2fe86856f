"""The JSON of a forecast: the contract of `ips-flow plan -o json`."""

from __future__ import annotations

from ips_flows.core.forecast.forecast import Forecast, ImageForecast, NodeForecast
from ips_flows.core.forecast.issues import Issue
from ips_flows.core.forecast.resolve import Resolved, Unresolved
from ips_flows.core.k8s.objects import Json


def forecast_json(forecast: Forecast) -> Json:
    """Return the forecast as JSON. Sizes are in bytes, times in seconds; null is unknown."""
    plan = forecast.plan
    names = [image.image for image in forecast.images]
    return {
        "ok": not forecast.fails,
        "problems": [_issue(issue) for issue in forecast.issues],
        "totalNodes": plan.eligible,
        "warmNodes": plan.warm,
        "toDoNodes": plan.to_do,
        "skippedNodes": plan.skipped,
        "mode": plan.mode,
        "modeReason": plan.mode_reason,
        "window": plan.window,
        "order": forecast.request.order,
        "waves": [{"name": wave.name, "nodes": wave.nodes} for wave in plan.waves],
        "maxFailedNodes": plan.losses_allowed,
        "images": [_image(image) for image in forecast.images],
        "nodes": {node.name: _node(node, names) for node in forecast.nodes},
        "estimate": {
            "bytes": forecast.bytes,
            "complete": forecast.whole,
            "seconds": None if forecast.seconds is None else round(forecast.seconds, 1),
            "bandwidth": round(forecast.bandwidth.node),
            "registryBandwidth": None
            if forecast.bandwidth.registry is None
            else round(forecast.bandwidth.registry),
        },
    }


def _issue(issue: Issue) -> Json:
    return {
        "level": issue.level,
        "kind": issue.kind.value,
        "image": issue.image or None,
        "nodes": issue.nodes,
        "firstNode": issue.node or None,
        "message": issue.message,
        "mend": issue.hint or None,
    }


def _image(image: ImageForecast) -> Json:
    resolution = image.resolved
    resolved = resolution if isinstance(resolution, Resolved) else None
    contents = resolved.contents if resolved else {}
    unresolved = resolution if isinstance(resolution, Unresolved) else None
    return {
        "image": image.image,
        "presentNodes": image.held,
        "missingNodes": image.missing,
        "exists": True if resolved else False if unresolved and unresolved.certain else None,
        "reason": unresolved.failure.value if unresolved else None,
        "message": unresolved.message if unresolved else None,
        "digest": resolved.digest if resolved else None,
        "platforms": [str(platform) for platform in resolved.platforms] if resolved else None,
        "contents": {
            f"linux/{architecture}": {
                "digest": content.digest,
                "bytes": content.bytes,
                "layers": content.layers,
            }
            if content
            else None
            for architecture, content in contents.items()
        },
    }


def _node(node: NodeForecast, names: list[str]) -> Json:
    return {
        "state": node.state,
        "reason": node.reason or None,
        "present": [names[index] for index in node.held],
        "missing": [names[index] for index in node.missing],
        "bytes": node.bytes if node.whole else None,
        "sharedBytes": node.saved if node.whole else None,
    }
