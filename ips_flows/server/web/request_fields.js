// Generated from ips_flows/core/request/fields.py by `python -m tests.docs`; do not edit.

/**
 * The sections of the form with their fields. A field is its name, its kind or choices, and, where it can be shown, the
 * default that applies while it is empty. The first choice is the default.
 */
export const SECTIONS = [
  {
    name: "what",
    open: true,
    fields: [
      ["images", "lines"],
      ["name", "text"],
      ["pullPolicy", ["IfNotPresent", "Always"]],
      ["pullSecrets", "lines"],
    ],
  },
  {
    name: "pace",
    open: true,
    fields: [
      ["batchSize", "size", "10"],
      ["priority", "number", "5"],
      ["waves", "sizes"],
      ["order", ["rolling", "batch"]],
    ],
  },
  {
    name: "where",
    fields: [
      ["nodeSelector", "pairs"],
      ["selector", "text"],
      ["nodes", "lines"],
      ["excludeNodes", "lines"],
      ["includeCordoned", "flag"],
    ],
  },
  {
    name: "trouble",
    fields: [
      ["maxRetries", "number", "0"],
      ["retryStrategy", ["linear", "exponential"]],
      ["retryDelay", "number", "30"],
      ["maxFailedNodes", "size", "0"],
      ["nodeTimeout", "text", "10m"],
      ["timeout", "text", "2h"],
    ],
  },
  {
    name: "notice",
    fields: [
      ["webhookUrl", "text"],
      ["webhookSecretName", "text"],
      ["webhookFormat", ["json", "cloudevents", "slack", "dingtalk"]],
      ["labels", "pairs"],
    ],
  },
];
