// Charts: Plotly figures that the server draws, in the page's colours, with title, keys and table.
//
//   <figure data-ladder-live="bench/chart" data-show="chart" …>      see studio/ui/charts/place.py
//
// Plotly is loaded when the first chart comes into sight. A figure names its colours by token
// (`--l-s0`, `--l-s0/0.15`); a change of theme puts the new ones in. A zoom survives updates.
// A report holds this script too, with its charts in `ladder.put(element, answer)`.
(() => {
  const { ladder } = window;
  const NARROW_PX = 600;
  const SCALE = 2;
  const TOKEN = /(--l-[\w-]+)(?:\/([\d.]+))?/g;
  const CONFIG = { displayModeBar: false, displaylogo: false, doubleClick: "reset", showTips: false };
  const shown = new Map();

  const made = (name, className, text = "") =>
    Object.assign(document.createElement(name), { className, textContent: text });

  // ---- Plotly, once ---------------------------------------------------------------------------

  let loading;
  function plotly(address) {
    if (window.Plotly) return Promise.resolve(window.Plotly);
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(address, document.baseURI);
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => {
        loading = undefined;
        script.remove();
        reject(new Error("plotly"));
      };
      document.head.append(script);
    });
    return loading;
  }

  // ---- colours --------------------------------------------------------------------------------

  function painter() {
    const style = getComputedStyle(document.documentElement);
    return function paint(value) {
      if (Array.isArray(value)) return value.map(paint);
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, paint(item)]));
      }
      if (typeof value !== "string" || !value.includes("--l-")) return value;
      return value.replace(TOKEN, (_, token, opacity) => {
        const colour = style.getPropertyValue(token).trim();
        if (!opacity) return colour;
        const part = (at) => parseInt(colour.slice(at, at + 2), 16);
        return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
      });
    };
  }

  // ---- one chart ------------------------------------------------------------------------------

  function frame(element) {
    const parts = {
      title: made("h4", "l-chart-title"),
      about: made("p", "l-chart-about"),
      keys: made("div", "l-chart-keys"),
      plot: made("div", "l-chart-plot"),
      notes: made("ul", "l-chart-notes"),
      read: made("p", "l-chart-read"),
      table: made("details", "l-chart-table"),
      tools: made("div", "l-chart-tools"),
    };
    const head = made("figcaption", "l-chart-head");
    head.append(parts.title, parts.about);
    const foot = made("div", "l-chart-foot");
    foot.append(parts.table, parts.tools);
    element.replaceChildren(head, parts.keys, parts.plot, parts.notes, parts.read, foot);
    for (const kind of ["png", "svg", "csv"]) {
      const button = made("button", "l-chart-tool", kind.toUpperCase());
      button.type = "button";
      button.title = ladder.say(`charts.save_${kind}`);
      button.onclick = () => save(shown.get(element), kind);
      parts.tools.append(button);
    }
    parts.table.append(made("summary", "", ladder.say("charts.table")));
    parts.table.addEventListener("toggle", () => tabulate(shown.get(element)));
    return parts;
  }

  function put(element, answer) {
    let chart = shown.get(element);
    if (!chart || !element.contains(chart.parts.plot)) {
      chart = { element, parts: frame(element), size: "", drawing: Promise.resolve() };
      shown.set(element, chart);
      widths.observe(element);
    }
    chart.answer = answer;
    const { title, about, notes, read, table } = chart.parts;
    title.textContent = answer.title;
    about.textContent = answer.about;
    about.hidden = !answer.about;
    notes.replaceChildren(...answer.notes.map((note) => made("li", note.tone ? `l-tone-${note.tone}` : "", note.text)));
    notes.hidden = !answer.notes.length;
    read.replaceChildren(made("b", "", ladder.say("charts.how")), ` ${answer.read}`);
    element.classList.toggle("l-chart-empty", !answer.wide);
    if (!answer.wide) {
      if (chart.drawn) window.Plotly?.purge(chart.parts.plot);
      chart.drawn = false;
      chart.parts.plot.replaceChildren(made("p", "", answer.empty));
      chart.parts.plot.style.height = "";
      chart.parts.keys.replaceChildren();
      return Promise.resolve();
    }
    if (table.open) tabulate(chart);
    return draw(chart);
  }

  function draw(chart) {
    chart.drawing = chart.drawing.then(() => drawNow(chart)).catch((error) => {
      console.error(error);
      chart.parts.plot.replaceChildren(made("p", "", ladder.say("charts.undrawn")));
      chart.parts.table.open = true;
    });
    return chart.drawing;
  }

  async function drawNow(chart) {
    const { element, parts, answer } = chart;
    const width = element.clientWidth;
    if (!width || !answer.wide) return;
    const Plotly = await plotly(answer.plotly);
    const size = width < NARROW_PX ? "narrow" : "wide";
    const paint = painter();
    const { data, layout, keys } = answer[size] ?? answer.wide;
    parts.keys.replaceChildren(...keys.map((key) => legend(key, paint)));
    if (!chart.drawn) parts.plot.replaceChildren();
    parts.plot.style.height = `${layout.height}px`;
    const how = { ...paint(layout), autosize: true };
    if (matchMedia("(pointer: coarse)").matches) how.dragmode = false; // a finger scrolls the page
    await Plotly.react(parts.plot, paint(data), how, CONFIG);
    Object.assign(chart, { drawn: true, size, width });
    parts.plot.setAttribute("role", "img");
    parts.plot.setAttribute("aria-label", `${answer.title}. ${answer.about}`);
    element.dataset.drawn = size;
    element.dispatchEvent(new CustomEvent("ladder:drawn", { bubbles: true }));
  }

  function legend(key, paint) {
    const node = made("span", key.dash ? "l-chart-key l-line" : "l-chart-key");
    const sign = made("i", "");
    sign.style.setProperty("--c", paint(key.colour));
    sign.dataset.dash = key.dash;
    node.append(sign, key.name);
    return node;
  }

  // ---- figures as a table ---------------------------------------------------------------------

  function tell(value) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString("en-US");
    const size = Math.abs(value);
    if (size && size < 1e-4) return value.toExponential(2);
    return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  }

  function tabulate(chart) {
    const { table } = chart.parts;
    if (!table.open) return;
    const { head, rows } = chart.answer.table;
    const body = made("table", "l-table");
    const numeric = head.map((_, i) => rows.every((row) => typeof row[i] === "number" || row[i] === null));
    const line = (cells, name) => {
      const row = document.createElement("tr");
      cells.forEach((cell, i) => row.append(made(name, numeric[i] ? "l-num" : "", name === "th" ? cell : tell(cell))));
      return row;
    };
    const top = document.createElement("thead");
    top.append(line(head, "th"));
    const rest = document.createElement("tbody");
    rest.append(...rows.map((row) => line(row, "td")));
    body.append(top, rest);
    const scroll = made("div", "l-scroll");
    scroll.append(body);
    table.replaceChildren(table.firstElementChild, scroll);
  }

  // ---- files ----------------------------------------------------------------------------------

  async function save(chart, kind) {
    const { answer } = chart;
    const name = `${answer.file}.${kind}`;
    if (kind === "csv") {
      const cell = (value) => (/[",\n]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : value ?? "");
      const lines = [answer.table.head, ...answer.table.rows].map((row) => row.map(cell).join(","));
      const text = `\ufeff${lines.join("\r\n")}\r\n`;  // the mark tells spreadsheets that it is UTF-8
      return download(URL.createObjectURL(new Blob([text], { type: "text/csv" })), name);
    }
    if (!answer.wide) return undefined;
    const Plotly = await plotly(answer.plotly);
    return download(await Plotly.toImage(picture(answer), { format: kind, scale: SCALE }), name);
  }

  // The wide figure by itself: with title, what it is about and its keys, on the page's ground.
  function picture(answer) {
    const paint = painter();
    const { data, layout } = answer.wide;
    return { data: paint(data), layout: paint({ ...layout, ...answer.picture }) };
  }

  function download(address, name) {
    const link = Object.assign(document.createElement("a"), { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    if (address.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  // ---- width and theme ------------------------------------------------------------------------

  const widths = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = shown.get(target);
      if (!chart?.answer?.wide || !target.clientWidth || target.clientWidth === chart.width) continue;
      draw(chart);
    }
  });

  new MutationObserver(() => {
    for (const [element, chart] of shown) {
      if (!element.isConnected) {
        widths.unobserve(element);
        if (chart.drawn) window.Plotly?.purge(chart.parts.plot);
        shown.delete(element);
      } else if (chart.drawn) draw(chart);
    }
  }).observe(document.documentElement, { attributeFilter: ["class"] });

  ladder.views.chart = (element, answer) => {
    if (answer.title === undefined) return; // nothing new
    element.dataset.version = answer.version;
    put(element, answer);
  };
  ladder.charts = { put, picture, shown };
})();
