// The Bench tab: its inner views, the endpoint of a load test, and what is opened from the table.
//
// ?tab=bench&view=results&name=FOLDER opens one folder, &compare=a,b several side by side; other words
// filter the table, which is in benchtable.js.
//
//   ladder.bench.heard(said)     what Python calls with its answer to a button
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  const esc = (text) => String(text ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const table = ladder.benchTable;
  const { root } = table;
  let shown = "";

  // ---- inner views ----------------------------------------------------------------------------

  // Gradio shows the view that the address asks for from the start; later ones are clicked.
  const config = window.gradio_config;
  const inner = config?.components.find((c) => c.props?.elem_id === "bench-views");
  const here = Object.fromEntries(new URLSearchParams(location.search));
  if (inner && here.tab === "bench" && here.view) inner.props.selected = here.view;

  if (inner && here.tab === "bench" && here.view === "results" && !here.name && !here.compare) table.ahead(here);

  let wantedView = "";
  function turn(view) {
    wantedView = view;
    const button = $(`#bench-view-${CSS.escape(view)}-button`);
    if (!button) return;
    wantedView = "";
    if (button.getAttribute("aria-selected") !== "true") button.click();
  }

  // A click on a view is an address of its own, so that a reload and a link come back to it.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#bench-views > .tab-wrapper [id^=bench-view-]");
    if (!button || !event.isTrusted) return;
    const view = button.id.replace(/^bench-view-(\w+)-button$/, "$1");
    const address = new URL(location.href);
    address.search = new URLSearchParams({ tab: "bench", view }).toString();
    history.replaceState(null, "", address);
    if (view === "results") open({});
  }, true);

  // ---- the endpoint of a load test ------------------------------------------------------------

  const work = () => $('[data-work="bench"]');

  function markEndpoint() {
    const address = $('.l-field[data-name="base_url"] input', work())?.value.trim().replace(/\/+$/, "") ?? "";
    for (const card of $$("[data-bench-endpoint]", work())) {
      const own = card.dataset.benchEndpoint.replace(/\/+$/, "");
      card.setAttribute("aria-pressed", Boolean(address) && own.replace(/\/v1$/, "") === address.replace(/\/v1$/, ""));
    }
  }

  for (const name of ["ladder:shown", "ladder:formed", "input"]) {
    document.addEventListener(name, ({ target }) => { if (target.closest?.('[data-work="bench"]')) markEndpoint(); });
  }
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.('[data-work="bench"] [data-form-set]')) setTimeout(markEndpoint);
  });

  // ---- one folder, or some side by side -------------------------------------------------------

  function open({ name = "", compare = "", ...filters }) {
    shown = name ? `name=${name}` : compare ? `compare=${compare}` : "";
    const given = table.takeFilters(filters);
    table.show(!shown);
    if (!root()) return; // comes with the view
    if (given) table.setFilters();
    const one = $("[data-bench-one]", root());
    one.hidden = !shown;
    if (!shown) {
      one.replaceChildren();
      table.load({ choices: true });
      return;
    }
    const asked = esc(JSON.stringify(name ? { name } : { of: compare }));
    one.innerHTML = `<div class="l-b-one" data-ladder-live="bench/${name ? "one" : "comparison"}" data-every="3" data-query="${asked}" data-first="${asked}"><div class="l-skeleton"></div></div>`;
    window.scrollTo({ top: 0 });
  }

  // The metric or the reference of a comparison, the repeats of a folder: part of what is asked.
  document.addEventListener("change", ({ target }) => {
    const place = target.closest?.(".l-b-one");
    if (!place || !target.matches("[data-bench-ask]")) return;
    const now = JSON.parse(place.dataset.query);
    const value = target.type === "checkbox" ? (target.checked ? "1" : "") : target.value;
    place.dataset.query = JSON.stringify({ ...now, [target.name]: value });
    delete place.dataset.version;
    ladder.refresh(place);
  });

  document.addEventListener("change", ({ target }) => {
    if (!target.matches?.("[data-bench-with]") || !target.value) return;
    ladder.open("bench", { view: "results", compare: `${target.dataset.benchWith},${target.value}` });
  });

  // ---- definitions ----------------------------------------------------------------------------

  document.addEventListener("click", ({ target }) => {
    const what = target.closest?.("[data-bench-what]");
    if (what) define(what.dataset.benchWhat);
    else target.closest?.("[data-bench-shut]")?.closest("dialog").close();
  });

  async function define(name) {
    const box = document.createElement("dialog");
    box.className = "l-dialog l-b-words";
    box.innerHTML = '<div class="l-skeleton"></div>';
    box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
    box.onclose = () => box.remove();
    document.body.append(box);
    box.showModal();
    const { html } = await ladder.get("bench/definitions", { name });
    box.innerHTML = html;
    const found = name && $(`[data-figure="${CSS.escape(name)}"]`, box)?.parentElement;
    if (found) {
      found.classList.add("l-on");
      found.scrollIntoView({ block: "center" });
    }
  }

  // ---- what Python says -----------------------------------------------------------------------

  function heard(said) {
    let told = {};
    try { told = JSON.parse(said); } catch { return; }
    if (told.act === "delete") {
      table.forget(told.names ?? []);
      if (shown) ladder.open("bench", { view: "results" });
      else table.load({ choices: true });
    }
    if (told.act === "resume") ladder.open("bench", { view: "load", run: told.run });
  }
  ladder.bench = { heard };

  ladder.on("bench", (query) => {
    if (query.view) turn(query.view);
    if (query.view === "results") open(query);
  });

  // ---- start: the views come when they are first seen -----------------------------------------

  let known = null;
  const watch = () => {
    if (wantedView) turn(wantedView);
    const now = root();
    if (now === known) return;
    known = now;
    if (!now) return;
    const asked = Object.fromEntries(new URLSearchParams(location.search));
    table.setFilters();
    open(asked.tab === "bench" && asked.view === "results" ? asked : {});
    if (shown) table.load({ choices: true });
  };
  const start = () => {
    new MutationObserver(watch).observe(document.body, { childList: true, subtree: true });
    watch();
  };
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start, { once: true });
})();
