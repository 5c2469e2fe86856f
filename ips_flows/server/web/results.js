/** Results of each image on each node, prepared for display. A pure module. */

// Reasons of nodes that the plan leaves out. A node that was never reached has another reason.
const LEFT_OUT = new Set([
  "NotReady",
  "Cordoned",
  "TaintNotTolerated",
  "NotSelected",
  "Excluded",
  "WrongPlatform",
  "Virtual",
]);
const ORDER = ["failed", "skipped", "pulled", "present", "unknown"]; // the worst first

/**
 * The nodes of a task: `{node, cells, worst, leftOut}`, in the natural order of their names. A cell is
 * `{result, reason, message, seconds, bytes, digest}`, one an image.
 */
export function nodesOf(task) {
  const messages = new Map(
    (task.failedNodeDetails ?? []).map((one) => [`${one.nodeName} ${one.image}`, one.message]),
  );
  const names = new Intl.Collator("en", { numeric: true });
  return Object.entries(task.nodeStatuses ?? {})
    .map(([node, statuses]) => {
      const cells = task.images.map((image) => {
        const one = statuses[image];
        return one ? { ...one, message: messages.get(`${node} ${image}`) ?? "" } : { result: "unknown" };
      });
      const worst = ORDER.find((result) => cells.some((cell) => cell.result === result)) ?? "unknown";
      return {
        node,
        cells,
        worst,
        leftOut:
          cells.length > 0 && cells.every((cell) => cell.result === "skipped" && LEFT_OUT.has(cell.reason)),
      };
    })
    .sort((one, other) => names.compare(one.node, other.node));
}

/** The kind to show for a result: unknown is shown as waiting. */
export const kindOf = (result) => (result === "unknown" ? "waiting" : result);

/** Number of nodes by their worst result; left-out nodes are counted as `left`. */
export function countsOf(nodes) {
  const counts = { all: 0, left: 0 };
  for (const { worst, leftOut } of nodes) {
    if (leftOut) counts.left += 1;
    else {
      counts.all += 1;
      counts[worst] = (counts[worst] ?? 0) + 1;
    }
  }
  return counts;
}

/** Failures by class, the most frequent first: `{reason, count, nodes, messages}`; each message has its nodes. */
export function failuresOf(task) {
  const classes = new Map();
  for (const { nodeName, image, reason, message } of task.failedNodeDetails ?? []) {
    const one = classes.get(reason) ?? { reason, count: 0, nodes: new Set(), messages: new Map() };
    one.count += 1;
    one.nodes.add(nodeName);
    const key = JSON.stringify([image, generic(message, nodeName)]);
    const group = one.messages.get(key) ?? { image, message, nodes: [] };
    group.nodes.push(nodeName);
    one.messages.set(key, group);
    classes.set(reason, one);
  }
  for (const [reason, count] of Object.entries(task.summary?.failures ?? {})) {
    const one = classes.get(reason) ?? { reason, count: 0, nodes: new Set(), messages: new Map() };
    one.count = Math.max(one.count, count);
    classes.set(reason, one);
  }
  return [...classes.values()]
    .map((one) => ({
      ...one,
      nodes: one.nodes.size,
      messages: [...one.messages.values()].sort((a, b) => b.nodes.length - a.nodes.length),
    }))
    .sort((one, other) => other.count - one.count);
}

/** Remove the node name from a message, so that the same error on many nodes is one group. */
const generic = (message, node) => (message ?? "").replaceAll(node, "");

/** Returns whether a task has ended. A cancelled task runs until it has `finishedAt`. */
export const isOver = (task) =>
  ["completed", "failed", "cancelled"].includes(task.status) && Boolean(task.finishedAt);
