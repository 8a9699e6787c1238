// The table of everything measured, on the Bench tab: filters, columns, pages, what is chosen.
//
// It lies in bench_table.py: we ask for a page of it and draw it. A key is a folder, or folder/point.
// Which of it is shown, and one folder or several side by side, is in benchviews.js.
//
//   ladder.benchTable.load({choices})    ask for the page again, and draw it
//   ladder.benchTable.show(whole)        show the list, or make room for what was opened from it
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  const esc = (text) => String(text ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const say = (key, values) => ladder.say(`bench.${key}`, values);
  const WAIT_MS = 80;
  const KEPT = "ladder_bench";
  const FILTERS = ["model", "server", "study", "engine", "status", "kind", "find", "since", "until"];

  const root = () => $("[data-bench-results]");
  const fresh = () => ({ by: "folders", sort: "at", desc: true, offset: 0, filters: {}, columns: { folders: [], points: [] } });
  const state = { ...fresh(), chosen: new Map(), answer: null, choices: null, asking: null, timer: 0, whole: true };
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
    const asking = state.asking = new AbortController();
    const asked = query();
    if (choices || !state.choices) asked.choices = "1";
    let answer;
    const early = state.early?.asked === JSON.stringify(asked) ? state.early.answer : null;
    state.early = null;
    try {
      answer = await (early ?? ladder.get("bench/table", asked, { signal: asking.signal }));
    } catch (error) {
      if (asking === state.asking) setTimeout(() => root() && asking === state.asking && load({ choices }), 3000);
      return;
    }
    if (asking !== state.asking) return; // asked early, and something else is wanted by now
    state.answer = answer;
    if (answer.choices) { state.choices = answer.choices; fillChoices(); }
    draw();
  }

  // Asked for before Gradio has drawn anything: reading ten thousand points takes as long as that.
  function ahead(filters) {
    takeFilters(filters);
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

  function setFilters(filters = state.filters) {
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
    $("[data-bench-list]", root()).hidden = none || !state.whole;
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

  function show(whole) {
    state.whole = whole;
    const list = $("[data-bench-list]", root());
    if (list) list.hidden = !whole || state.answer?.saved === 0;
  }

  ladder.benchTable = {
    root, load, ahead, show, takeFilters, setFilters,
    forget: (keys) => { for (const key of keys) state.chosen.delete(key); },
  };
})();
