// A launch form: filled by the server, collected here, planned and previewed while it changes.
//
//   <div data-work="serve">            one per tab; its routes are ladder/serve/form and …/plan
//     <… data-work-choices>            recipe cards: [data-choose="vllm/smoke"], [data-blank="vllm"]
//     <… data-work-form>               the form of studio/ui/forms/form.py
//     <… data-work-plan>, [data-work-preview]
//     <button data-act="launch" data-ask>   its data-value is what will be launched, as JSON
//
// Only what differs from the engine's defaults is collected, so the words are those of a recipe.
(() => {
  const { ladder } = window;
  const WAIT_MS = 220;
  const AGAIN_MS = 2000;
  const $ = (selector, within) => within.querySelector(selector);
  const $$ = (selector, within) => [...within.querySelectorAll(selector)];
  const works = new WeakMap();

  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const kept = (tab) => `ladder_form_${tab}`;

  // ---- one field ------------------------------------------------------------------------------

  const control = (field) => $("input, select, textarea", field);

  function read(field) {
    const input = control(field);
    const text = input.value.trim();
    switch (field.dataset.kind) {
      case "switch": return input.checked;
      case "tristate": return text === "" ? null : text === "true";
      case "integer": case "number": return text === "" ? null : Number(text);
      case "lines": return text === "" ? [] : input.value.split("\n").map((l) => l.trim()).filter(Boolean);
      case "numbers": return text.split(/[\s,;，、；]+/).filter(Boolean).map((n) => (Number.isNaN(Number(n)) ? n : Number(n)));
      case "choice": return input.value === "" && JSON.parse(field.dataset.default) === null ? null : input.value;
      default: return text;
    }
  }

  function write(field, value) {
    const input = control(field);
    if (field.dataset.kind === "switch") input.checked = Boolean(value);
    else if (field.dataset.kind === "lines") input.value = (value ?? []).join("\n");
    else if (field.dataset.kind === "numbers") input.value = (value ?? []).join(", ");
    else input.value = value === null || value === undefined ? "" : String(value);
  }

  const initial = (field) => JSON.parse(field.dataset.default);

  function isChanged(field) {
    const now = read(field);
    const then = initial(field);
    if (then === null && (now === "" || now === null)) return false;
    return !same(now, then);
  }

  function mark(form) {
    for (const field of $$(".l-field", form)) {
      const changed = isChanged(field);
      field.toggleAttribute("data-is-changed", changed);
      $("[data-reset]", field).hidden = !changed;
    }
    for (const group of $$(".l-group", form)) {
      const count = $$("[data-is-changed]", group).length;
      $("[data-changed]", group).textContent = count || "";
    }
  }

  function collect(form) {
    const settings = {};
    for (const field of $$(".l-field", form)) {
      if (isChanged(field)) settings[field.dataset.name] = read(field);
    }
    return settings;
  }

  // ---- the whole ------------------------------------------------------------------------------

  function ask(work) {
    const { element } = work;
    const form = $("[data-form]", element);
    if (!form) return null;
    const { cards } = work;
    const copies = Number($("[data-copies]", element)?.value || 1);
    const said = { engine: work.engine, settings: collect(form) };
    if (work.recipe) said.recipe = work.recipe;
    if (cards.length) said.cards = cards;
    if (copies > 1) said.copies = copies;
    return said;
  }

  function changed(work, { soon = true } = {}) {
    const form = $("[data-form]", work.element);
    if (form) mark(form);
    const said = ask(work);
    const name = $("[data-save-name]", work.element)?.value.trim() ?? "";
    for (const button of $$("[data-ask]", work.element)) {
      const more = button.dataset.act === "save" ? { ...said, name } : said;
      button.dataset.value = JSON.stringify(more);
    }
    if (said) localStorage.setItem(kept(work.tab), JSON.stringify(withoutSecrets(said)));
    work.planned = false;
    work.pressed = null;
    clearTimeout(work.timer);
    work.timer = setTimeout(() => plan(work), soon ? WAIT_MS : 0);
  }

  function withoutSecrets(said) {
    const { api_key: _, ...settings } = said.settings;
    return { ...said, settings };
  }

  // Addresses end up in logs of proxies; a key has no business there.
  function masked(said) {
    if (!said.settings.api_key) return said;
    return { ...said, settings: { ...said.settings, api_key: "••••" } };
  }

  async function plan(work) {
    const said = ask(work);
    if (!said || !work.element.isConnected) return;
    work.stop?.abort();
    work.stop = new AbortController();
    const { element } = work;
    element.classList.add("l-planning");
    try {
      const answer = await ladder.get(
        `${work.tab}/plan`,
        { ask: JSON.stringify(masked(said)), on: $("[data-plan-on]", element)?.value ?? "" },
        { signal: work.stop.signal },
      );
      show(work, answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!refused(error)) { // a plan that is not of what the form says does not stay
        work.timer = setTimeout(() => plan(work), AGAIN_MS);
        return;
      }
    }
    element.classList.remove("l-planning");
    work.planned = true;
    work.pressed?.click();
    work.pressed = null;
  }

  function show(work, answer) {
    const { element } = work;
    ladder.morph($("[data-work-plan]", element), answer.plan ?? "");
    ladder.morph($("[data-work-preview]", element), answer.preview ?? "");
    for (const field of $$(".l-field", element)) {
      const wrong = (answer.faults ?? []).includes(field.dataset.name);
      field.toggleAttribute("data-wrong", wrong);
      if (wrong) field.closest("details")?.setAttribute("open", "");
    }
    for (const button of $$("[data-ask]", element)) {
      button.disabled = Boolean(answer.blocked);
      if (button.dataset.act !== "launch") continue;
      $("span", button).textContent = answer.verb ?? "";
      if (answer.confirm) button.dataset.confirm = answer.confirm;
      else delete button.dataset.confirm;
      button.classList.toggle("warn", Boolean(answer.confirm));
    }
    const verdict = $("[data-work-verdict]", element);
    verdict.textContent = answer.verdict ?? "";
    verdict.classList.toggle("l-over-text", !(answer.plan ?? "").includes("l-tone-ok"));
    for (const part of $$("[data-work-told]", element)) part.textContent = answer.told ?? "";
    tabs(element, work.form);
  }

  const refused = ({ status }) => status >= 400 && status < 500; // else the server was not reached

  // The first form comes as soon as the server answers. What was typed the last time is given up
  // only when the server refuses it, or breaks over it again and again.
  async function begin(work, values, tries = 3) {
    const turn = work.turn + 1;
    try {
      await load(work, values);
    } catch (error) {
      if (turn !== work.turn || !work.element.isConnected) return; // another choice was made
      const left = error.status ? tries - 1 : tries;
      if (!refused(error) && left) setTimeout(() => turn === work.turn && begin(work, values, left), AGAIN_MS);
      else if (Object.keys(values).length) begin(work, {});
    }
  }

  // Nothing can be typed into, or launched from, a form that is about to be replaced.
  function awaits(work, on) {
    const place = $("[data-work-form]", work.element);
    place.disabled = place.inert = on; // a group that is opened is not a control
    for (const button of $$("[data-ask]", work.element)) button.disabled = on;
    work.element.setAttribute("aria-busy", on);
  }

  // Does it in the form that is on its way, or at once when none is.
  function formed(work, act) {
    if (work.element.getAttribute("aria-busy") !== "true") return act();
    const { turn } = work;
    const here = () => { if (turn === work.turn) act(); };
    return work.element.addEventListener("ladder:formed", here, { once: true });
  }

  async function load(work, values) {
    const turn = work.turn += 1; // of two quick choices the later one counts
    clearTimeout(work.timer);
    work.stop?.abort();
    awaits(work, true);
    let answer;
    try {
      answer = await ladder.get(`${work.tab}/form`, values);
    } finally {
      if (turn === work.turn) awaits(work, false);
    }
    if (turn !== work.turn) return;
    work.engine = answer.engine;
    work.recipe = answer.recipe ?? "";
    work.cards = answer.cards ?? [];
    const place = $("[data-work-form]", work.element);
    place.innerHTML = answer.html;
    work.element.dataset.recipe = work.recipe;
    work.element.dataset.engine = work.engine;
    choose(work);
    place.dispatchEvent(new CustomEvent("ladder:formed", { bubbles: true }));
    changed(work, { soon: false });
  }

  function choose(work) {
    for (const card of $$("[data-choose], [data-blank]", work.element)) {
      const on = card.dataset.choose ? card.dataset.choose === work.recipe
        : !work.recipe && card.dataset.blank === work.engine;
      card.setAttribute("aria-pressed", on);
    }
  }

  // recipes by any word of their card
  function pick(element) {
    const wanted = ($("[data-pick-find]", element)?.value ?? "").trim().toLowerCase().split(/\s+/);
    for (const card of $$("[data-choose]", element)) {
      const said = `${card.dataset.choose} ${card.textContent}`.toLowerCase();
      card.hidden = !wanted.every((word) => said.includes(word));
    }
  }

  function find(form, text) {
    const wanted = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const field of $$(".l-field", form)) {
      const hit = wanted.every((word) => field.dataset.words.includes(word));
      field.hidden = !hit;
      shown += hit;
    }
    for (const group of $$(".l-group", form)) {
      const any = $$(".l-field:not([hidden])", group).length > 0;
      group.hidden = !any;
      if (wanted.length) group.open = any;
      else if (!$$("[data-is-changed], [data-wrong]", group).length) group.open = false;
    }
    $("[data-form-none]", form).hidden = shown > 0;
  }

  // the forms of the preview: shell, docker, compose
  function tabs(element, wanted) {
    const pages = $$("[data-form-page]", element);
    if (!pages.length) return;
    const known = pages.map((page) => page.dataset.formPage);
    const now = known.includes(wanted) ? wanted : known[0];
    for (const page of pages) page.hidden = page.dataset.formPage !== now;
    for (const tab of $$("[data-form-tab]", element)) {
      tab.setAttribute("aria-selected", tab.dataset.formTab === now);
    }
  }

  function adopt(element) {
    if (works.has(element)) return;
    const work = { element, tab: element.dataset.work, engine: "", recipe: "", form: "", cards: [], timer: 0, turn: 0, planned: false, pressed: null };
    works.set(element, work);
    element.addEventListener("ladder:shown", () => { choose(work); pick(element); });
    element.addEventListener("ladder:fill", ({ detail }) => load(work, { ask: JSON.stringify(detail) }));
    element.addEventListener("input", (event) => {
      if (event.target.matches("[data-pick-find]")) {
        pick(element);
      } else if (event.target.matches("[data-form-find]")) {
        find(event.target.form, event.target.value);
      } else if (event.target.closest("[data-form]") || event.target.matches("[data-copies], [data-plan-on], [data-save-name]")) {
        changed(work);
      }
    });
    // A launch waits for the plan of what it launches: that one may ask first, or refuse.
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act=launch]");
      if (!button || work.planned) return;
      event.stopImmediatePropagation();
      clearTimeout(work.timer);
      if (!work.pressed) plan(work);
      work.pressed = button;
    }, true);
    element.addEventListener("click", (event) => {
      const hit = (selector) => event.target.closest(selector);
      if (hit("[data-act=launch]") && window.innerWidth < 900) {
        document.querySelector(`#${work.tab}-selected`)?.parentElement.scrollIntoView({ behavior: "smooth" });
      }
      const card = hit("[data-choose], [data-blank]");
      if (card) {
        const { choose: recipe, blank: engine } = card.dataset;
        load(work, recipe ? { recipe } : { engine });
        return;
      }
      const reset = hit("[data-reset]");
      if (reset) {
        const field = reset.closest(".l-field");
        write(field, initial(field));
        changed(work, { soon: false });
        return;
      }
      const set = hit("[data-form-set]");
      if (set) {
        const wanted = JSON.parse(set.dataset.formSet);
        formed(work, () => {
          for (const [name, value] of Object.entries(wanted)) {
            if (name === "cards") work.cards = value;
            const field = $(`.l-field[data-name="${CSS.escape(name)}"]`, element);
            if (field) write(field, value);
          }
          changed(work, { soon: false });
        });
        return;
      }
      const pin = hit("[data-card]");
      if (pin) {
        formed(work, () => {
          const card = Number(pin.dataset.card);
          const on = work.cards.includes(card);
          work.cards = pin.dataset.card === "" ? []
            : on ? work.cards.filter((one) => one !== card) : [...work.cards, card].sort((a, b) => a - b);
          pin.setAttribute("aria-pressed", !on);
          changed(work, { soon: false });
        });
        return;
      }
      const page = hit("[data-form-tab]");
      if (page) {
        work.form = page.dataset.formTab;
        tabs(element, work.form);
      }
    });
    // a link such as ?tab=serve&recipe=vllm/smoke, or &engine=vllm&with={"model": …}
    const linked = ({ recipe, engine, with: more = "" }) => {
      if (!recipe && !engine) return false;
      (work.engine ? load : begin)(work, recipe ? { recipe, with: more } : { engine, with: more });
      return true;
    };
    const asked = Object.fromEntries(new URLSearchParams(location.search));
    if (!(asked.tab === work.tab && linked(asked))) {
      const last = JSON.parse(localStorage.getItem(kept(work.tab)) ?? "null");
      begin(work, last ? { ask: JSON.stringify(last) } : {});
    }
    let first = true; // what the address says now was looked at above
    ladder.on(work.tab, (query) => { if (!first) linked(query); });
    first = false;
  }

  // Forms of tabs are built when first seen; watch for them.
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) adopt(target);
  });
  const watch = () => { for (const el of $$("[data-work]", document)) if (!works.has(el)) seen.observe(el); };
  const start = () => {
    watch();
    new MutationObserver(watch).observe(document.body, { childList: true, subtree: true });
  };
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start, { once: true });
})();

// A button with data-collect takes the named inputs around it as its value, as JSON.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-collect]");
  if (!button) return;
  const inputs = button.closest("[data-collected]").querySelectorAll("[name]");
  button.dataset.value = JSON.stringify(Object.fromEntries([...inputs].map((i) => [i.name, i.value])));
}, true);
