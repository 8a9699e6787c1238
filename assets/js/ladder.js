// The page's own behaviour: tabs and links, clicks, dialogs, answers of the server. No dependency.
// Live places are in live.js, which comes right after this one; everything else stands on these two.
//
//   ladder.open("runs", {run: id})        go to a tab; the address follows, "back" works
//   ladder.on("runs", (query) => …)       hear about it; called at once if that tab is open
//   ladder.say("state.ready")             a sentence in the page's language
//   ladder.ask("Delete it?", "Delete")    our own confirmation, a promise of true or false
//   ladder.get("runs", {find: "x"})       what a route answers; says so when the server is gone
(() => {
  const ladder = window.ladder;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const url = (path) => new URL(path, document.baseURI);

  ladder.say = (key, values = {}) =>
    (window.ladder_words?.[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

  // ---- Gradio's page description: our words, and the tab the address asks for -----------------

  const config = window.gradio_config;
  const query = () => Object.fromEntries(new URLSearchParams(location.search));
  if (config) {
    const words = window.ladder_words ?? {};
    config.i18n_translations = { en: words, zh: words, "zh-CN": words };
    const tabs = config.components.find((c) => c.props?.elem_id === "ladder-tabs");
    if (tabs) {
      const known = childrenOf(config.layout, tabs.id)
        .map((id) => config.components.find((c) => c.id === id)?.props.id);
      ladder.tabs = known;
      ladder.tab = [query().tab, tabs.props.selected, known[0]].find((id) => known.includes(id));
      tabs.props.selected = ladder.tab;
      config.title = title(ladder.tab);
    }
  }

  function title(tab) {
    return `${ladder.say(`tab.${tab}`)} · Ladder Studio`;
  }

  function childrenOf(node, id) {
    if (node.id === id) return (node.children ?? []).map((child) => child.id);
    return (node.children ?? []).map((child) => childrenOf(child, id)).find(Boolean);
  }

  // ---- tabs -----------------------------------------------------------------------------------

  const listeners = new Map();
  ladder.on = (tab, fn) => {
    listeners.set(tab, [...(listeners.get(tab) ?? []), fn]);
    if (ladder.tab === tab) fn(without(query(), "tab"));
  };
  ladder.open = (tab, extra = {}, { push = true } = {}) => {
    if (!ladder.tabs?.includes(tab)) return; // not on this page, or not for this visitor
    const address = new URL(location.href);
    address.search = new URLSearchParams({ tab, ...extra }).toString();
    if (push && address.href !== location.href) history.pushState(null, "", address);
    show(tab);
    for (const fn of listeners.get(tab) ?? []) fn(extra);
  };

  function show(tab) {
    ladder.tab = tab;
    $(`#tab-${CSS.escape(tab)}-button`)?.click();
    mark();
    window.scrollTo({ top: 0 });
  }

  function mark() {
    for (const link of $$(".l-tab")) {
      const on = link.dataset.ladderOpen === ladder.tab;
      link.setAttribute("aria-selected", on);
      link.tabIndex = on ? 0 : -1;
      if (on) {
        const bar = link.parentElement;
        const left = link.offsetLeft - bar.clientWidth / 2 + link.clientWidth / 2;
        bar.scrollTo({ left, behavior: "smooth" });
        document.title = title(ladder.tab);
      }
    }
  }

  window.addEventListener("popstate", () => {
    const { tab, ...rest } = query();
    ladder.open(tab ?? ladder.tabs[0], rest, { push: false });
  });

  // ---- clicks ---------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-ladder-open]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      const { ladderOpen, ...extra } = link.dataset;
      ladder.open(ladderOpen, extra);
      return;
    }
    const docs = event.target.closest("#ladder-api") && $("gradio-app footer button.show-api");
    if (docs) {
      event.preventDefault();
      docs.click(); // Gradio's own link, which our style hides
      return;
    }
    const copy = event.target.closest("[data-ladder-copy]");
    if (copy) copyText(copy);
  });

  document.addEventListener("keydown", (event) => {
    const link = event.target.closest?.(".l-tab");
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!link || !step) return;
    const all = $$(".l-tab");
    const next = all[(all.indexOf(link) + step + all.length) % all.length];
    next.focus();
    next.click();
  });

  ladder.copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // plain http from another machine has no clipboard API
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  async function copyText(button) {
    await ladder.copy(button.dataset.ladderCopy || $("pre", button.parentElement)?.innerText || "");
    button.dataset.said = ladder.say("shell.copied");
    setTimeout(() => delete button.dataset.said, 1500);
  }

  ladder.ask = (text, verb = ladder.say("shell.go_on"), { danger = true } = {}) =>
    new Promise((resolve) => {
      const box = document.createElement("dialog");
      box.className = "l-dialog";
      const say = Object.assign(document.createElement("p"), { textContent: text });
      const row = Object.assign(document.createElement("div"), { className: "l-actions" });
      const button = (label, kind, value) => {
        const made = Object.assign(document.createElement("button"), {
          textContent: label, className: `l-button ${kind}`, type: "button",
        });
        made.onclick = () => box.close(value);
        row.append(made);
        return made;
      };
      button(ladder.say("shell.cancel"), "", "no").autofocus = true;
      button(verb, danger ? "danger-fill" : "primary", "yes");
      box.append(say, row);
      box.onclose = () => {
        box.remove();
        resolve(box.returnValue === "yes");
      };
      document.body.append(box);
      box.showModal();
    });

  // Used by the HTML components of `studio.ui.actions`.
  ladder.acts = (element, trigger) => {
    element.addEventListener("click", async (event) => {
      const button = event.target.closest("[data-act]");
      if (!button || button.disabled) return;
      event.preventDefault();
      const { act, value = "", confirm } = button.dataset;
      if (confirm && !(await ladder.ask(confirm, button.innerText.trim()))) return;
      button.classList.add("l-busy");
      setTimeout(() => button.classList.remove("l-busy"), 4000);
      trigger("click", { act, value });
    });
  };

  // ---- answers of the server ------------------------------------------------------------------

  let silent = 0;
  ladder.get = async (path, values = {}, options = {}) => {
    const address = url(`ladder/${path}`);
    for (const [key, value] of Object.entries(values)) address.searchParams.set(key, value);
    let answer;
    try {
      answer = await fetch(address, { headers: { accept: "application/json" }, ...options });
    } catch (error) {
      if (error.name !== "AbortError" && ++silent === 2) banner("shell.offline", "bad");
      throw error;
    }
    if (silent >= 2) banner("shell.back", "ok", 3000);
    silent = 0;
    if (answer.status === 401) banner("shell.session_over", "warn", 0, "shell.log_in_again");
    if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
    return answer.json();
  };

  function banner(key, tone, ms = 0, link = "") {
    const place = $("#ladder-banner");
    if (!place) return;
    place.textContent = ladder.say(key);
    if (link) {
      const a = Object.assign(document.createElement("a"), { textContent: ladder.say(link) });
      a.href = location.href;
      place.append(" ", a);
    }
    place.dataset.tone = tone;
    place.hidden = false;
    if (ms) setTimeout(() => (place.hidden = true), ms);
  }

  // ---- start ----------------------------------------------------------------------------------

  function times() {
    const now = Date.now() / 1000;
    for (const node of $$("time[data-ladder-at]")) {
      const said = ago(now - Number(node.dataset.ladderAt));
      if (node.textContent !== said) node.textContent = said;
    }
  }

  function ago(span) {
    const distance = Math.abs(span);
    if (distance < 5) return ladder.say("time.now");
    const [unit, length] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]
      .find(([, size]) => distance >= size);
    const n = Math.floor(distance / length);
    return ladder.say(span > 0 ? "time.ago" : "time.in", { span: ladder.say(`unit.${unit}`, { n }) });
  }

  function themeButton() {
    const button = $("#ladder-theme");
    if (!button) return;
    const order = ["auto", "light", "dark"];
    const tell = () => {
      button.dataset.now = ladder.theme();
      const said = `${ladder.say("shell.theme.label")}: ${ladder.say(`shell.theme.${ladder.theme()}`)}`;
      button.title = said;
      button.setAttribute("aria-label", said);
    };
    button.onclick = () => {
      ladder.setTheme(order[(order.indexOf(ladder.theme()) + 1) % order.length]);
      tell();
    };
    tell();
  }

  function without(table, key) {
    const { [key]: _, ...rest } = table;
    return rest;
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    mark();
    setInterval(times, 5000);
    setTimeout(() => {
      const opening = $("#ladder-opening p");
      if (opening) opening.textContent = ladder.say("shell.slow");
    }, 8000);
    const watch = () => {
      for (const element of $$("[data-ladder-live]")) ladder.adopt(element);
      for (const button of $$("[data-ladder-copy]:not([aria-label])")) {
        button.title = ladder.say("shell.copy");
        button.setAttribute("aria-label", button.title);
      }
      for (const head of $$(".toast-title")) {
        // Gradio heads its toasts with the level, in English only
        const word = [...head.childNodes].find((node) => node.nodeType === Node.TEXT_NODE && node.nodeValue.trim());
        const said = window.ladder_words?.[`toast.${word?.nodeValue.trim().toLowerCase()}`];
        if (said && word.nodeValue !== said) word.nodeValue = said;
      }
      const opening = $("#ladder-opening");
      if (opening && $("#ladder-tabs")) {
        opening.remove();
        document.documentElement.classList.add("l-opened");
        if (ladder.tab) $(`#tab-${CSS.escape(ladder.tab)}-button[aria-selected=false]`)?.click();
      }
    };
    new MutationObserver(watch).observe(document.body, {
      childList: true, subtree: true, attributeFilter: ["data-ladder-live", "data-first"],
    });
    watch();
  });
})();
