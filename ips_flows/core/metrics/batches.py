"""Durations of batches. A batch is a number of nodes equal to the window that end one after another."""

from __future__ import annotations

from ips_flows.core.clock import between
from ips_flows.core.results.results import FILTER_GROUP, FINISH_GROUP, Chunk


class Batches:
    """The batches of one task, computed from its stored results as they arrive.

    Keeps counts and the start time of the current batch. `midway` means that results were stored before this process
    started, so the first batch begins with the first end that is seen.
    """

    __slots__ = ("_began", "_ended", "_key", "_lost", "_midway", "_nodes", "_total")

    def __init__(self, *, midway: bool = False) -> None:
        self._midway = midway
        self._key = (FILTER_GROUP, 0)
        self._began = ""
        self._nodes = 0  # that ended in this batch
        self._ended = 0  # that have a result in this attempt
        self._lost = 0
        self._total = 0  # nodes of this attempt; 0 if unknown

    def add(self, chunk: Chunk, window: int, wave_nodes: int) -> list[float]:
        """Return the seconds of each batch that these results complete.

        `wave_nodes` is the number of nodes to pull in the wave; 0 if unknown. A retry has the failed nodes of the
        previous attempt. The last batch of an attempt may be smaller.
        """
        if chunk.group in (FILTER_GROUP, FINISH_GROUP) or not chunk.nodes:
            return []
        if (chunk.group, chunk.attempt) != self._key:
            self._begin(chunk, wave_nodes)
        found = []
        for node in sorted(chunk.nodes.values(), key=lambda one: one.at):
            self._ended += 1
            self._lost += not node.ok
            if not node.skipped:  # skipped by the breaker
                if not self._began:
                    self._began = node.at
                else:
                    self._nodes += 1
            if self._nodes and (self._nodes >= window or self._ended == self._total):
                found.append(max(0.0, between(self._began, node.at)))
                self._began, self._nodes = node.at, 0
        return found

    def _begin(self, chunk: Chunk, wave_nodes: int) -> None:
        follows = self._key == (chunk.group, chunk.attempt - 1)
        if self._midway or (chunk.attempt and not (follows and self._total)):
            self._total = 0
        else:
            self._total = self._lost if chunk.attempt else wave_nodes
        self._key = (chunk.group, chunk.attempt)
        self._began = "" if self._midway else chunk.started
        self._nodes = self._ended = self._lost = 0
        self._midway = False
