// The Bench tab: its inner views, the endpoint of a load test, and the table of everything measured.
//
// ?tab=bench&view=results&name=FOLDER opens one folder, &compare=a,b several side by side; a key is
// a folder, or folder/point. The table lies in bench_table.py: we ask for a page of it and draw it.
//
//   ladder.bench.heard(said)     what Python calls with its answer to a button
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  const esc = (text) => String(text ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const say = (key, values) => ladder.say(`bench.${key}`, values);
  const WAIT_MS = 80;
  const KEPT = "ladder_bench";
  const FILTERS = ["model", "server", "study", "engine", "status", "kind", "find", "since", "until"];

  // ---- inner views ----------------------------------------------------------------------------

  // Gradio shows the view that the address asks for from the start; later ones are clicked.
  const config = window.gradio_config;
  const inner = config?.components.find((c) => c.props?.elem_id === "bench-views");
  const here = Object.fromEntries(new URLSearchParams(location.search));
  if (inner && here.tab === "bench" && here.view) inner.props.selected = here.view;

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

  // ---- the table ------------------------------------------------------------------------------

  const root = () => $("[data-bench-results]");
  const fresh = () => ({ by: "folders", sort: "at", desc: true, offset: 0, filters: {}, columns: { folders: [], points: [] } });
  const state = { ...fresh(), chosen: new Map(), answer: null, choices: null, asking: null, timer: 0, shown: "" };
  try { Object.assign(state, JSON.parse(localStorage.getItem(KEPT)) ?? {}); } catch { /* kept by an older page */ }

  function keep() {
    const { by, sort, desc, columns } = state;
    localStorage.setItem(KEPT, JSON.stringify({ by, sort, desc, columns }));
  }

  function query() {
    const { by, sort, desc, offset, filters, columns } = state;
    const asked = { by, sort, desc: desc ? "1" : "0", offset: String(offset) };
    for (const [name, value] of Object.entries(filters)) if (value) asked[name] = value;
    for (const name of ["since", "until"]) {
      if (!asked[name]) continue;
      const day = new Date(`${asked[name]}T00:00:00`).getTime() / 1000;
      asked[name] = String(name === "until" ? day + 86400 : day);
    }
    if (columns[by]?.length) asked.columns = columns[by].join(",");
    return asked;
  }

  async function load({ choices = false } = {}) {
    state.asking?.abort();
    state.asking = new AbortController();
    const asked = query();
    if (choices || !state.choices) asked.choices = "1";
    let answer;
    const early = state.early?.asked === JSON.stringify(asked) ? state.early.answer : null;
    state.early = null;
    try {
      answer = await (early ?? ladder.get("bench/table", asked, { signal: state.asking.signal }));
    } catch (error) {
      if (error.name !== "AbortError") setTimeout(() => root() && load({ choices }), 3000);
      return;
    }
    state.answer = answer;
    if (answer.choices) { state.choices = answer.choices; fillChoices(); }
    draw();
  }

  // Asked for before Gradio has drawn anything: reading ten thousand points takes as long as that.
  if (inner && here.tab === "bench" && here.view === "results" && !here.name && !here.compare) {
    takeFilters(here);
    const asked = { ...query(), choices: "1" };
    state.early = { asked: JSON.stringify(asked), answer: ladder.get("bench/table", asked) };
    state.early.answer.catch(() => {});
  }

  const later = () => {
    clearTimeout(state.timer);
    state.timer = setTimeout(load, WAIT_MS);
  };

  // ---- filters and columns --------------------------------------------------------------------

  function fillChoices() {
    for (const select of $$("[data-bench-filters] select", root())) {
      const found = state.choices.filters[select.name] ?? [];
      const now = state.filters[select.name] ?? "";
      const options = found.map(({ value, label, count }) =>
        `<option value="${esc(value)}"${value === now ? " selected" : ""}>${esc(label)} · ${count.toLocaleString("en")}</option>`);
      select.innerHTML = `<option value="">${esc(select.dataset.all)}</option>${options.join("")}`;
      select.closest("label").hidden = found.length < 2 && !now;
    }
  }

  function fillColumns() {
    const place = $("[data-bench-columns]", root());
    if (!place || !state.choices || !state.answer) return;
    const on = new Set(state.answer.columns.map(({ key }) => key));
    const boxes = state.choices.columns.map(({ key, label, unit }) =>
      `<label><input type="checkbox" value="${esc(key)}"${on.has(key) ? " checked" : ""}><span>${esc(label)}</span><small>${esc(unit)}</small></label>`);
    const usual = `<button type="button" class="l-button small quiet" data-bench-usual>${esc(say("usual_columns"))}</button>`;
    place.innerHTML = `<div class="l-b-boxes">${boxes.join("")}</div>${usual}`;
  }

  // A link may ask for filters: ?tab=bench&view=results&study=NAME&by=points
  function takeFilters(asked) {
    const given = Object.entries(asked).filter(([key, value]) => FILTERS.includes(key) && value);
    if (["folders", "points"].includes(asked.by)) state.by = asked.by;
    if (!given.length) return false;
    state.filters = Object.fromEntries(given);
    state.offset = 0;
    return true;
  }

  function setFilters(filters) {
    state.filters = filters;
    for (const control of $$("[data-bench-filters] [name]", root())) control.value = filters[control.name] ?? "";
    $("[data-bench-clear]", root()).hidden = !Object.values(filters).some(Boolean);
  }

  // ---- drawing --------------------------------------------------------------------------------

  const FIXED = {
    folders: [["name", "col.name"], ["model", "col.model"], ["server", "col.server"], ["points", "col.points"], ["at", "col.at"]],
    points: [["name", "col.results"], ["condition", "col.condition"], ["model", "col.model"], ["server", "col.server"], ["at", "col.at"]],
  };

  function head(key, label, { unit = "", defined = false, number = false } = {}) {
    const now = state.sort === key;
    const order = now ? (state.desc ? "descending" : "ascending") : "none";
    const arrow = now ? `<i aria-hidden="true">${state.desc ? "↓" : "↑"}</i>` : "";
    const what = defined ? `<button type="button" class="l-b-what" data-bench-what="${esc(key)}" aria-label="${esc(say("what", { name: label }))}">?</button>` : "";
    return `<th aria-sort="${order}"${number ? ' class="l-num"' : ""}><button type="button" data-bench-sort="${esc(key)}">${esc(label)}${arrow}</button>${what}${unit ? `<small>${esc(unit)}</small>` : ""}</th>`;
  }

  const when = (at) => {
    const date = new Date(at * 1000);
    const two = (n) => String(n).padStart(2, "0");
    const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    return `<time title="${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}">${day} ${two(date.getHours())}:${two(date.getMinutes())}</time>`;
  };

  function cellsOf(row, by) {
    const go = `<a class="l-link" href="?tab=bench&view=results&name=${encodeURIComponent(row.folder)}" data-ladder-open="bench" data-view="results" data-name="${esc(row.folder)}">${esc(row.name)}</a>`;
    if (by === "points") {
      const repeat = row.repeat ? ` <span class="l-muted">${esc(say("repeat_n", { n: row.repeat + 1 }))}</span>` : "";
      const bad = row.error ? `<span class="l-tag l-tone-bad" title="${esc(row.error)}">${esc(say("status.failed"))}</span>` : "";
      return [`${go}${row.case ? `<small>${esc(row.case)}</small>` : ""}`, `${esc(row.condition)}${repeat}${bad}`, esc(row.model), esc(row.server), when(row.at)];
    }
    const sub = [row.kind_label, row.case].filter(Boolean).join(" · ");
    const bad = row.failed ? ` <span class="l-tag l-tone-bad">${esc(say("n_failed", { n: row.failed }))}</span>` : "";
    return [`${go}<small>${esc(sub)}</small>`, esc(row.model), esc(row.server), `${row.points.toLocaleString("en")}${bad}`, when(row.at)];
  }

  function draw() {
    const { answer, by } = state;
    if (!answer || !root()) return;
    for (const button of $$("[data-bench-by]", root())) button.setAttribute("aria-pressed", button.dataset.benchBy === by);
    const none = answer.saved === 0;
    $("[data-bench-none]", root()).hidden = !none;
    $("[data-bench-list]", root()).hidden = none || Boolean(state.shown);
    const heads = FIXED[by].map(([key, name]) => head(key, say(name), { number: key === "points" })).join("")
      + answer.columns.map(({ key, label, unit, defined }) => head(key, label, { unit, defined, number: true })).join("");
    const rows = answer.rows.map((row) => {
      const on = state.chosen.has(row.key);
      const fixed = cellsOf(row, by).map((html, n) => `<td class="l-b-${FIXED[by][n][0]}">${html}</td>`).join("");
      const cells = row.cells.map((text) => `<td class="l-num">${esc(text)}</td>`).join("");
      const pick = esc(say("choose", { name: row.name }));
      return `<tr data-key="${esc(row.key)}"${on ? ' class="l-on"' : ""}><td class="l-b-pick"><input type="checkbox" aria-label="${pick}"${on ? " checked" : ""}></td>${fixed}${cells}</tr>`;
    });
    const all = rows.length > 0 && answer.rows.every((row) => state.chosen.has(row.key));
    const place = $("[data-bench-table]", root());
    place.innerHTML = `<table class="l-table"><thead><tr><th class="l-b-pick"><input type="checkbox" data-bench-all aria-label="${esc(say("choose_all"))}"${all ? " checked" : ""}></th>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table>`
      + (rows.length ? "" : `<p class="l-b-nothing">${esc(say("nothing"))}</p>`);
    place.dataset.total = answer.total;
    $("[data-bench-count]", root()).textContent = by === "points"
      ? say("count_points", { n: answer.total.toLocaleString("en") })
      : say("count_folders", { n: answer.total.toLocaleString("en"), points: answer.points.toLocaleString("en") });
    drawPager();
    drawChosen();
    if ($(".l-b-columns[open]", root())) fillColumns();
    const { offset: _, choices: __, ...asked } = query();
    $("[data-bench-csv]", root()).href = `ladder/bench/csv?${new URLSearchParams(asked)}`;
  }

  function drawPager() {
    const { total, offset, rows } = state.answer;
    const place = $("[data-bench-pager]", root());
    place.hidden = total <= rows.length && !offset;
    $("[data-bench-range]", place).textContent = say("range", {
      from: (total ? offset + 1 : 0).toLocaleString("en"), to: (offset + rows.length).toLocaleString("en"), of: total.toLocaleString("en"),
    });
    $("[data-bench-page='-1']", place).disabled = !offset;
    $("[data-bench-page='1']", place).disabled = offset + rows.length >= total;
  }

  function drawChosen() {
    const place = $("[data-bench-chosen]", root());
    const keys = [...state.chosen.keys()];
    const folders = keys.filter((key) => !key.includes("/"));
    place.hidden = !keys.length;
    $("[data-bench-number]", place).textContent = say(state.by === "points" ? "chosen_points" : "chosen_folders", { n: keys.length });
    $("[data-bench-compare]", place).disabled = keys.length < 2;
    $("[data-bench-hint]", place).hidden = keys.length > 1;
    const away = $("[data-act=delete]", place);
    away.hidden = folders.length !== keys.length;
    away.dataset.value = JSON.stringify(folders);
    away.dataset.confirm = say("delete_confirm", { n: folders.length, names: folders.slice(0, 5).map((key) => state.chosen.get(key)).join(", ") + (folders.length > 5 ? " …" : "") });
  }

  // ---- one folder, or some side by side -------------------------------------------------------

  function open({ name = "", compare = "", ...filters }) {
    const shown = name ? `name=${name}` : compare ? `compare=${compare}` : "";
    const given = takeFilters(filters);
    state.shown = shown;
    if (!root()) return; // comes with the view
    if (given) setFilters(state.filters);
    const one = $("[data-bench-one]", root());
    one.hidden = !shown;
    $("[data-bench-list]", root()).hidden = Boolean(shown) || state.answer?.saved === 0;
    if (!shown) {
      one.replaceChildren();
      load({ choices: true });
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

  // ---- what is clicked and typed --------------------------------------------------------------

  document.addEventListener("input", ({ target }) => {
    if (!target.closest?.("[data-bench-filters]") || !target.name) return;
    state.filters = { ...state.filters, [target.name]: target.value };
    state.offset = 0;
    $("[data-bench-clear]", root()).hidden = !Object.values(state.filters).some(Boolean);
    if (target.type === "search") later();
    else load();
  });

  document.addEventListener("change", ({ target }) => {
    if (!target.closest?.("[data-bench-results]")) return;
    if (target.closest("[data-bench-columns]")) {
      const on = $$("[data-bench-columns] input:checked", root()).map((box) => box.value);
      const before = state.answer.columns.map(({ key }) => key);
      state.columns[state.by] = [...before.filter((key) => on.includes(key)), ...on.filter((key) => !before.includes(key))];
      keep();
      load();
    } else if (target.matches("[data-bench-all]")) {
      for (const row of state.answer.rows) {
        if (target.checked) state.chosen.set(row.key, row.name);
        else state.chosen.delete(row.key);
      }
      draw();
    } else if (target.closest(".l-b-pick")) {
      const line = target.closest("tr");
      const row = state.answer.rows.find(({ key }) => key === line.dataset.key);
      if (target.checked) state.chosen.set(row.key, row.name);
      else state.chosen.delete(row.key);
      line.classList.toggle("l-on", target.checked);
      drawChosen();
    }
  });

  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest?.(selector);
    const what = hit("[data-bench-what]");
    if (what) { define(what.dataset.benchWhat); return; }
    const shut = hit("[data-bench-shut]");
    if (shut) { shut.closest("dialog").close(); return; }
    if (!hit("[data-bench-results]")) return;
    const sort = hit("[data-bench-sort]");
    if (sort) {
      const key = sort.dataset.benchSort;
      state.desc = state.sort === key ? !state.desc : !["name", "model", "server", "condition"].includes(key);
      Object.assign(state, { sort: key, offset: 0 });
      keep();
      load();
      return;
    }
    const by = hit("[data-bench-by]");
    if (by && by.dataset.benchBy !== state.by) {
      Object.assign(state, { by: by.dataset.benchBy, offset: 0 });
      state.chosen.clear();
      keep();
      load();
      return;
    }
    const page = hit("[data-bench-page]");
    if (page) {
      state.offset = Math.max(0, state.offset + Number(page.dataset.benchPage) * 100);
      load();
      $("[data-bench-table]", root()).scrollTop = 0;
      return;
    }
    if (hit("[data-bench-usual]")) {
      state.columns[state.by] = [];
      keep();
      load();
      return;
    }
    const more = hit("[data-bench-more]");
    if (more) {
      more.setAttribute("aria-expanded", more.getAttribute("aria-expanded") !== "true");
      return;
    }
    if (hit("[data-bench-clear]")) {
      setFilters({});
      state.offset = 0;
      load();
      return;
    }
    if (hit("[data-bench-unchoose]")) {
      state.chosen.clear();
      draw();
      return;
    }
    if (hit("[data-bench-compare]")) {
      ladder.open("bench", { view: "results", compare: [...state.chosen.keys()].join(",") });
      return;
    }
    // a row is as wide as the table: clicking beside a link chooses it
    const line = hit("[data-bench-table] tbody tr");
    if (line && !hit("a, button, input, label")) $("input", line).click();
  });

  document.addEventListener("toggle", ({ target }) => {
    if (target.matches?.(".l-b-columns[open]")) fillColumns();
  }, true);
  document.addEventListener("pointerdown", ({ target }) => {
    for (const open of $$(".l-b-columns[open]")) if (!open.contains(target)) open.open = false;
  });

  // ---- definitions ----------------------------------------------------------------------------

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
      for (const name of told.names ?? []) state.chosen.delete(name);
      if (state.shown) ladder.open("bench", { view: "results" });
      else load({ choices: true });
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
    setFilters(state.filters);
    open(asked.tab === "bench" && asked.view === "results" ? asked : {});
    if (state.shown) load({ choices: true });
  };
  const start = () => {
    new MutationObserver(watch).observe(document.body, { childList: true, subtree: true });
    watch();
  };
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start, { once: true });
})();
