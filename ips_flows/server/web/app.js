/** The frame of the page: routes, header, language, sign-in. */

import { ApiError, config, onUnauthorized } from "./api.js";
import { problem } from "./components.js";
import { detail } from "./detail.js";
import { fill, h, mark, say } from "./dom.js";
import { form } from "./form.js";
import { choose, lang, locale, t } from "./i18n.js";
import { list } from "./list.js";
import { signIn } from "./signin.js";
import { keepToken, token } from "./storage.js";

const main = document.getElementById("main");
const page = { view: null, name: "", config: null, wanted: null };

/** Parse the URL hash: view, argument, query. */
function route() {
  const [path, query = ""] = window.location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean);
  const asked = new URLSearchParams(query);
  if (parts[0] === "new") return { name: "new", open: () => form(main) };
  if (parts[0] === "tasks" && parts.length === 2) {
    const id = decoded(parts[1]);
    return { name: `task ${id}`, title: id, open: () => detail(main, id, page.config) };
  }
  return { name: "tasks", query: asked, open: () => list(main, asked) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return text;
  }
}

function show({ anew = false } = {}) {
  if (!page.config) return;
  const next = page.wanted
    ? { name: "sign in", open: () => signIn(main, page.config, page.wanted, enter) }
    : route();
  document.title = `${next.title ?? t(`title.${next.name}`)} · IPS Flow`;
  head(next.name);
  if (page.view && page.name === next.name && !anew) {
    page.view.update?.(next.query);
    return;
  }
  const moved = page.view !== null && !anew;
  page.view?.stop();
  main.replaceChildren();
  page.name = next.name;
  page.view = next.open();
  if (moved) {
    window.scrollTo(0, 0);
    // Some views set the focus themselves.
    if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
  }
}

function enter() {
  page.wanted = null;
  show({ anew: true });
}

function head(name) {
  const link = (to, key, here) => h("a", { href: to, "aria-current": here ? "page" : null }, t(key));
  const other = lang() === "en" ? "zh" : "en";
  fill(
    document.getElementById("top"),
    h(
      "a",
      { class: "brand", href: "#/tasks" },
      h("img", { src: "icon.svg", alt: "", width: 24, height: 24 }),
      h("span", {}, "IPS Flow"),
    ),
    page.config.namespace && h("span", { class: "chip", title: t("head.namespace") }, page.config.namespace),
    h(
      "nav",
      { "aria-label": t("head.nav") },
      link("#/tasks", "head.tasks", name === "tasks"),
      link("#/new", "head.new", name === "new"),
    ),
    h("span", { class: "grow" }),
    token() && h("button", { type: "button", class: "quiet", id: "sign-out" }, t("head.signout")),
    h("button", { type: "button", class: "quiet", id: "language", lang: other }, t("head.language")),
  );
}

document.getElementById("top").addEventListener("click", (event) => {
  const id = event.target.closest("button")?.id;
  if (id === "sign-out") {
    keepToken(null);
    page.wanted = { again: false, message: "" };
    show({ anew: true });
  }
  if (id === "language") {
    choose(lang() === "en" ? "zh" : "en");
    speak();
    show({ anew: true });
    document.getElementById("language").focus();
  }
});

/** Update the parts of the frame that depend on the language only. */
function speak() {
  mark(document.documentElement, "lang", locale());
  say(document.getElementById("skip"), t("head.skip"));
}

// The skip link moves the focus to the content and does not change the route.
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

window.addEventListener("hashchange", () => show());
onUnauthorized((event) => {
  page.wanted = event.detail;
  show();
});

async function begin() {
  speak();
  try {
    page.config = await config();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    main.replaceChildren(problem(t("error.start"), error, begin));
    return;
  }
  if (page.config.auth === "kubernetes" && !token()) page.wanted = { again: false, message: "" };
  main.replaceChildren();
  show();
}

begin();
