/** What the browser keeps for us: the token until the tab closes, the language for longer. No cookies. */

const TOKEN = "ips-flow.token";
const LANGUAGE = "ips-flow.language";

// A browser that forbids storage throws; then this tab remembers for itself.
const own = new Map();

function kept(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch (error) {
    if (error instanceof DOMException) return own.get(key) ?? null;
    throw error;
  }
}

function keep(storage, key, value) {
  try {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    if (value === null) own.delete(key);
    else own.set(key, value);
  }
}

export const token = () => kept("sessionStorage", TOKEN);
export const keepToken = (value) => keep("sessionStorage", TOKEN, value);
export const language = () => kept("localStorage", LANGUAGE);
export const keepLanguage = (value) => keep("localStorage", LANGUAGE, value);
