"""Kubernetes objects as plain JSON."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]  # an object as the API server writes it
