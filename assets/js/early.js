// Runs before anything is drawn: language and theme, so that nothing flashes or is re-translated.
(() => {
  const root = document.documentElement;
  const lang = root.lang.startsWith("zh") ? "zh-CN" : "en";
  Object.defineProperty(navigator, "language", { get: () => lang });
  Object.defineProperty(navigator, "languages", { get: () => [lang] });

  // Gradio asks the system for light or dark; we answer with the visitor's choice.
  const query = "(prefers-color-scheme: dark)";
  const real = window.matchMedia.bind(window);
  const system = real(query);
  const listeners = new Set();
  const wanted = () => {
    const asked = new URLSearchParams(location.search).get("__theme");
    return asked || localStorage.getItem("ladder_theme") || "auto";
  };
  const dark = () => (wanted() === "auto" ? system.matches : wanted() === "dark");
  const answer = {
    media: query,
    get matches() { return dark(); },
    addEventListener: (_, fn) => listeners.add(fn),
    removeEventListener: (_, fn) => listeners.delete(fn),
    addListener: (fn) => listeners.add(fn),
    removeListener: (fn) => listeners.delete(fn),
    dispatchEvent: () => true,
    onchange: null,
  };
  window.matchMedia = (text) => (text.replace(/\s+/g, " ").trim() === query ? answer : real(text));

  const apply = () => {
    for (const node of [root, document.body]) node?.classList.toggle("dark", dark());
    root.style.colorScheme = dark() ? "dark" : "light";
    for (const fn of listeners) fn({ matches: dark(), media: query });
  };
  system.addEventListener("change", apply);
  window.ladder = {
    theme: wanted,
    setTheme(name) {
      localStorage.setItem("ladder_theme", name);
      apply();
    },
    setLang(name) {
      document.cookie = `ladder_lang=${name};path=/;max-age=31536000;samesite=lax`;
      location.reload();
    },
  };
  apply();
  document.addEventListener("DOMContentLoaded", apply);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-ladder-lang]");
    if (!button) return;
    event.preventDefault();
    window.ladder.setLang(button.dataset.ladderLang);
  });
})();
