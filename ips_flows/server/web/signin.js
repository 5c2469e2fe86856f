/** Form for the bearer token, which this tab then sends with every request. */

import { fresh, h } from "./dom.js";
import { t } from "./i18n.js";
import { keepToken } from "./storage.js";

/** `asked` is `{again, message}`: whether a token was refused, and the server's message. */
export function signIn(main, config, asked, entered) {
  const [hint, wrong] = [fresh("hint"), fresh("wrong")];
  const field = h("input", {
    type: "password",
    id: "token",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": asked.again ? `${wrong} ${hint}` : hint,
    "aria-invalid": asked.again ? "true" : null,
  });

  function submit(event) {
    event.preventDefault();
    // A copied token may contain line breaks or start with "Bearer".
    const value = field.value.replace(/^\s*bearer\s+/i, "").replace(/\s+/g, "");
    if (!value) return;
    if (!/^[\x21-\x7e]+$/.test(value)) {
      said.textContent = t("signin.garbled");
      said.hidden = false;
      field.setAttribute("aria-invalid", "true");
      field.focus();
      return;
    }
    keepToken(value);
    entered();
  }

  const said = h(
    "p",
    { id: wrong, class: "wrong", role: "alert", hidden: !asked.again },
    asked.again ? t("signin.refused", asked) : "",
  );
  main.append(
    h(
      "form",
      { class: "card signin", onsubmit: submit },
      h("h1", {}, t("signin.title")),
      h("p", {}, t("signin.why")),
      h("label", { for: "token" }, t("signin.token")),
      field,
      said,
      h("p", { id: hint, class: "hint" }, t("signin.hint")),
      h(
        "pre",
        { class: "command" },
        `kubectl create token SERVICEACCOUNT -n ${config.namespace || "NAMESPACE"}`,
      ),
      h("div", { class: "actions" }, h("button", { class: "primary" }, t("signin.enter"))),
    ),
  );
  field.focus();
  return { stop() {} };
}
