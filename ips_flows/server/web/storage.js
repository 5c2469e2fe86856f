/** Browser storage: the token until the tab closes, the language permanently. No cookies. */

const TOKEN = "ips-flow.token";
const LANGUAGE = "ips-flow.language";

// A browser that blocks storage throws; the values then stay in the memory of this tab.
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
