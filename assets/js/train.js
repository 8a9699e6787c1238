// The curves of a training: small plots that share one step axis, drawn from plain values.
//
//   <section class="l-curves" data-ladder-live="run/ID/series" data-show="training" data-run="ID">
//
// Smoothing and log scale are kept in the browser, a zoom (drag; double click undoes it) and the
// runs laid over this one are kept per run while the page is open, so updates change neither.
// ladder.curves.smooth and .ticks are plain functions, for tests.
(() => {
  const { ladder } = window;
  const $ = (selector, within) => within.querySelector(selector);
  const $$ = (selector, within) => [...within.querySelectorAll(selector)];
  const HEIGHT = 168;
  const EDGE = { left: 46, right: 14, top: 8, bottom: 20 };
  const COLOURS = 6;
  const TOGETHER = { eval_loss: "loss", "rewards/rejected": "rewards/chosen" };
  const RAW = new Set(["lr", "eval_loss"]);
  const FIRST = ["loss", "grad_norm", "lr", "throughput", "samples_per_s", "accuracy"];
  const states = new Map();

  const kept = (key, otherwise) => JSON.parse(localStorage.getItem(key) ?? "null") ?? otherwise;
  const keep = (key, value) => localStorage.setItem(key, JSON.stringify(value));

  // ---- figures --------------------------------------------------------------------------------

  // Exponential moving average whose beginning is not pulled towards zero.
  function smooth(values, weight) {
    if (!weight) return values;
    let mean = 0;
    let part = 1;
    return values.map((value) => {
      mean = mean * weight + (1 - weight) * value;
      part *= weight;
      return mean / (1 - part);
    });
  }

  function ticks(low, high, count) {
    const rough = (high - low) / Math.max(1, count);
    if (!(rough > 0) || !Number.isFinite(rough)) return [low];
    const size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= rough * 0.999);
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) {
      found.push(Number((n * step).toPrecision(12)));
    }
    return found;
  }

  // Powers of ten; between them 2 and 5 where there are fewer than two.
  function logTicks(low, high) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
      for (const n of [1, 2, 5]) found.push(n * 10 ** e);
    }
    const inside = found.filter((n) => n >= low && n <= high);
    const tens = inside.filter((n) => /^1(\.0+)?e/.test(n.toExponential()));
    return tens.length >= 2 ? tens : inside.length ? inside : [low, high];
  }

  function tell(value) {
    if (value === undefined || value === null || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    if (size && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e").replace(/\.?0+e/, "e");
    if (size >= 1000) return Math.round(value).toLocaleString("en-US");
    return String(Number(value.toPrecision(4)));
  }

  function nearest(steps, step) {
    let low = 0;
    let high = steps.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle;
      else high = middle;
    }
    return Math.abs(steps[low] - step) <= Math.abs(steps[high] - step) ? low : high;
  }

  // ---- what is drawn --------------------------------------------------------------------------

  function stateOf(run) {
    if (!states.has(run)) states.set(run, { run, also: [], zoom: null, runs: [], drawn: new Map() });
    return states.get(run);
  }

  // [{title, lines: [{name, label, colour, dashed, x, y, sx, sy}]}], the important ones first
  function panels(state, weight) {
    const found = new Map();
    state.runs.forEach((run, number) => {
      for (const [name, curve] of Object.entries(run.curves)) {
        const home = TOGETHER[name] ?? name;
        if (!found.has(home)) found.set(home, []);
        const second = home !== name;
        const raw = RAW.has(name) || !weight;
        found.get(home).push({
          name, run, second,
          colour: state.runs.length > 1 ? number % COLOURS : second ? 1 : 0,
          x: curve.x, y: curve.y,
          sx: raw ? null : curve.mx ?? curve.x,
          sy: raw ? null : smooth(curve.my ?? curve.y, weight),
        });
      }
    });
    const rank = (name) => (FIRST.indexOf(name) + 1 || FIRST.length + 1);
    return [...found].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  }

  const titled = (name) => {
    const key = `train.curve.${name.replace("/", "_")}`;
    return window.ladder_words?.[key] ? ladder.say(key) : name;
  };

  function scales(lines, state, log, width) {
    const all = (pick) => lines.flatMap((line) => pick(line));
    const x0 = state.zoom?.[0] ?? Math.min(...all((l) => [l.x[0] ?? Infinity]));
    const x1 = state.zoom?.[1] ?? Math.max(...all((l) => [l.x.at(-1) ?? -Infinity]));
    let low = Infinity;
    let high = -Infinity;
    for (const line of lines) {
      for (let i = 0; i < line.x.length; i++) {
        const value = line.y[i];
        if (line.x[i] < x0 || line.x[i] > x1 || (log && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (!(low <= high)) [low, high] = log ? [0.1, 1] : [0, 1];
    if (low === high) {
      const room = Math.abs(low) * 0.05 || 0.5;
      [low, high] = log ? [low / 1.2, high * 1.2] : [low - room, high + room];
    } else if (!log) {
      const room = (high - low) * 0.05;
      low = low >= 0 ? Math.max(0, low - room) : low - room;
      high += room;
    }
    const wide = width - EDGE.left - EDGE.right;
    const tall = HEIGHT - EDGE.top - EDGE.bottom;
    const span = x1 - x0 || 1;
    const [a, b] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
    return {
      x0, x1, low, high, wide, log,
      x: (step) => EDGE.left + ((step - x0) / span) * wide,
      step: (px) => x0 + ((px - EDGE.left) / wide) * span,
      y: (value) => EDGE.top + (1 - ((log ? Math.log10(Math.max(value, 1e-300)) : value) - a) / (b - a || 1)) * tall,
    };
  }

  function path(xs, ys, at) {
    const points = [];
    for (let i = 0; i < xs.length; i++) {
      if (at.log && ys[i] <= 0) continue;
      points.push(`${at.x(xs[i]).toFixed(1)},${at.y(ys[i]).toFixed(1)}`);
    }
    return points.join(" ");
  }

  function drawing(lines, at, width, clip) {
    const parts = [`<defs><clipPath id="${clip}"><rect x="${EDGE.left}" y="0" width="${at.wide}" height="${HEIGHT - EDGE.bottom + 3}"/></clipPath></defs>`];
    for (const value of at.log ? logTicks(at.low, at.high) : ticks(at.low, at.high, 4)) {
      const y = at.y(value).toFixed(1);
      parts.push(`<line class="l-grid-line" x1="${EDGE.left}" x2="${width - EDGE.right}" y1="${y}" y2="${y}"/>`
        + `<text class="l-tick" x="${EDGE.left - 6}" y="${y}" dy="3.5" text-anchor="end">${tell(value)}</text>`);
    }
    for (const step of ticks(at.x0, at.x1, Math.max(2, Math.floor(width / 64)))) {
      if (!Number.isInteger(step)) continue;
      parts.push(`<text class="l-tick" x="${at.x(step).toFixed(1)}" y="${HEIGHT - 5}" text-anchor="middle">${tell(step)}</text>`);
    }
    parts.push(`<g clip-path="url(#${clip})">`);
    for (const line of lines) {
      const kind = `l-c${line.colour}${line.second ? " l-dash" : ""}`;
      const faint = line.sy ? " l-faint-line" : "";
      parts.push(`<polyline class="${kind}${faint}" points="${path(line.x, line.y, at)}"/>`);
      if (line.sy) parts.push(`<polyline class="${kind}" points="${path(line.sx, line.sy, at)}"/>`);
      if (line.second && line.x.length <= 40) {
        for (let i = 0; i < line.x.length; i++) {
          if (at.log && line.y[i] <= 0) continue;
          parts.push(`<circle class="l-c${line.colour}" r="2.6" cx="${at.x(line.x[i]).toFixed(1)}" cy="${at.y(line.y[i]).toFixed(1)}"/>`);
        }
      } else if (line.x.length === 1) {
        parts.push(`<circle class="l-c${line.colour}" r="3" cx="${at.x(line.x[0]).toFixed(1)}" cy="${at.y(line.y[0]).toFixed(1)}"/>`);
      }
    }
    parts.push(`</g>${labels(lines, at, width)}<g class="l-hover"></g><rect class="l-drag" y="${EDGE.top}" height="${HEIGHT - EDGE.top - EDGE.bottom}" width="0" hidden/>`);
    return parts.join("");
  }

  // Names at the lines' ends, where there is more than one line; kept apart from each other.
  function labels(lines, at, width) {
    if (lines.length < 2) return "";
    const found = lines.filter((line) => line.x.length).map((line) => {
      const xs = line.sx ?? line.x;
      const ys = line.sy ?? line.y;
      let end = nearest(xs, at.x1);
      if (xs[end] > at.x1 && end) end -= 1;
      const several = lines.some((other) => other.run !== line.run);
      const kind = line.name.replace(/^.*[/_]/, "");
      const pair = lines.some((other) => other.run === line.run && other !== line);
      const name = [several ? line.run.name : "", line.second ? ladder.say("train.eval") : several || !pair ? "" : kind];
      const text = name.filter(Boolean).join(" ");
      return { text: text.length > 18 ? `${text.slice(0, 17)}…` : text, colour: line.colour, y: at.y(ys[end]), x: at.x(xs[end]) };
    }).sort((a, b) => a.y - b.y);
    let floor = EDGE.top + 4;
    for (const one of found) {
      one.y = Math.max(one.y - 5, floor);
      floor = one.y + 12;
    }
    const over = floor - 12 - (HEIGHT - EDGE.bottom - 2);
    return found.map((one) => {
      const y = over > 0 ? one.y - over : one.y;
      const x = Math.min(one.x, width - EDGE.right) - 2;
      return `<text class="l-line-name l-c${one.colour}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="end">${escaped(one.text)}</text>`;
    }).join("");
  }

  const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  // ---- putting it on the page -----------------------------------------------------------------

  function draw(element, state) {
    const weight = kept("ladder_smoothing", 0.6);
    const log = kept("ladder_log_scale", false);
    const grid = $(".l-curve-grid", element);
    const found = panels(state, weight);
    element.classList.toggle("l-has-curves", found.length > 0);
    settings(element, state, weight, log);
    found.forEach(([name, lines], number) => {
      let figure = grid.children[number];
      if (!figure) {
        figure = document.createElement("figure");
        figure.className = "l-curve";
        figure.innerHTML = '<figcaption><b></b><span class="l-curve-values"></span></figcaption>'
          + `<svg height="${HEIGHT}" role="img"></svg>`;
        grid.append(figure);
      }
      figure.dataset.name = name;
      $("b", figure).textContent = titled(name);
      const svg = $("svg", figure);
      const width = Math.max(200, Math.round(figure.clientWidth || 320));
      const at = scales(lines, state, log && lines.some((l) => l.y.some((v) => v > 0)), width);
      svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      svg.setAttribute("width", width);
      if (!state.dragging) svg.innerHTML = drawing(lines, at, width, `c-${state.run}-${number}`);
      Object.assign(figure, { lines, at });
      values(figure, state.hover ?? null);
      svg.setAttribute("aria-label", `${titled(name)}: ${$(".l-curve-values", figure).textContent}`);
    });
    while (grid.children.length > found.length) grid.lastElementChild.remove();
  }

  function settings(element, state, weight, log) {
    const slider = $("[data-train-smooth]", element);
    if (document.activeElement !== slider) slider.value = weight;
    $("output", element).textContent = Number(weight).toFixed(2);
    $("[data-train-log]", element).checked = log;
    $("[data-train-out]", element).hidden = !state.zoom;
    const keys = $(".l-curve-keys", element);
    const want = state.runs.length > 1 ? state.runs.map((run, n) =>
      `<span class="l-c${n % COLOURS}"><i></i>${escaped(run.name)} <small>${escaped(run.id.slice(-5))}</small>`
      + (n ? `<button type="button" data-train-drop="${run.id}" aria-label="${escaped(ladder.say("train.drop"))}">×</button>` : "")
      + "</span>").join("") : "";
    if (keys.dataset.shown !== want || !keys.childElementCount !== !want) {
      keys.innerHTML = want;
      keys.dataset.shown = want;
    }
    const chooser = $("[data-train-overlay]", element);
    for (const option of chooser.options) option.hidden = state.also.includes(option.value);
    chooser.value = "";
  }

  // The latest values beside the title; while the pointer is over a plot, those at its step.
  function values(figure, step) {
    const { lines, at } = figure;
    const place = $(".l-curve-values", figure);
    const marks = [];
    const told = lines.filter((line) => line.x.length).map((line) => {
      const xs = line.sx ?? line.x;
      const ys = line.sy ?? line.y;
      const index = step === null ? xs.length - 1 : nearest(xs, step);
      if (step !== null) marks.push(`<circle class="l-c${line.colour}" r="3.5" cx="${at.x(xs[index]).toFixed(1)}" cy="${at.y(ys[index]).toFixed(1)}"/>`);
      return `<span class="l-c${line.colour}">${line.second ? `${escaped(ladder.say("train.eval"))} ` : ""}${tell(ys[index])}</span>`;
    });
    const where = step === null ? "" : `<em>${escaped(ladder.say("train.at_step", { step: tell(Math.round(step)) }))}</em>`;
    place.innerHTML = where + told.slice(0, 6).join("");
    const hover = $(".l-hover", figure);
    if (!hover) return;
    const x = step === null ? 0 : at.x(step).toFixed(1);
    hover.innerHTML = step === null ? "" : `<line class="l-hover-line" x1="${x}" x2="${x}" y1="${EDGE.top}" y2="${HEIGHT - EDGE.bottom}"/>${marks.join("")}`;
  }

  function stepAt(figure, event) {
    const svg = $("svg", figure);
    const box = svg.getBoundingClientRect();
    const px = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const { at } = figure;
    return Math.min(at.x1, Math.max(at.x0, at.step(px)));
  }

  function setUp(element) {
    const now = () => stateOf(element.dataset.run);
    const redraw = () => draw(element, now());
    const hover = (step) => {
      now().hover = step;
      for (const figure of $$(".l-curve", element)) if (figure.at) values(figure, step);
    };
    element.addEventListener("input", (event) => {
      if (event.target.matches("[data-train-smooth]")) {
        keep("ladder_smoothing", Number(event.target.value));
        redraw();
      } else if (event.target.matches("[data-train-log]")) {
        keep("ladder_log_scale", event.target.checked);
        redraw();
      }
    });
    element.addEventListener("change", (event) => {
      if (!event.target.matches("[data-train-overlay]") || !event.target.value) return;
      now().also = [...new Set([...now().also, event.target.value])].slice(-5);
      ask(element, now());
    });
    element.addEventListener("click", (event) => {
      const drop = event.target.closest("[data-train-drop]");
      if (drop) {
        now().also = now().also.filter((run) => run !== drop.dataset.trainDrop);
        ask(element, now());
      } else if (event.target.closest("[data-train-out]")) {
        now().zoom = null;
        redraw();
      }
    });
    element.addEventListener("dblclick", (event) => {
      if (!event.target.closest("svg")) return;
      now().zoom = null;
      redraw();
    });
    element.addEventListener("pointermove", (event) => {
      const figure = event.target.closest(".l-curve");
      if (!figure?.at) return;
      const { dragging } = now();
      if (dragging) {
        dragging.to = stepAt(dragging.figure, event);
        const [from, to] = [dragging.from, dragging.to].sort((a, b) => a - b);
        const rect = $(".l-drag", dragging.figure);
        rect.removeAttribute("hidden");
        rect.setAttribute("x", dragging.figure.at.x(from));
        rect.setAttribute("width", dragging.figure.at.x(to) - dragging.figure.at.x(from));
      } else hover(stepAt(figure, event));
    });
    element.addEventListener("pointerleave", () => hover(null));
    element.addEventListener("pointerdown", (event) => {
      const svg = event.target.closest("svg");
      const figure = svg?.closest(".l-curve");
      if (!figure?.at || event.button !== 0 || event.pointerType === "touch") return;
      now().dragging = { figure, from: stepAt(figure, event), to: null };
      event.preventDefault();
    });
    window.addEventListener("pointerup", () => {
      const { dragging } = now();
      if (!dragging) return;
      now().dragging = null;
      const { at } = dragging.figure;
      const [from, to] = [dragging.from, dragging.to ?? dragging.from].sort((a, b) => a - b);
      if (at.x(to) - at.x(from) > 6) now().zoom = [from, to];
      redraw();
    });
    let wide = 0;
    new ResizeObserver(() => {
      const { clientWidth } = element;
      if (clientWidth && Math.abs(clientWidth - wide) > 4) {
        wide = clientWidth;
        if (now().runs.length) redraw();
      }
    }).observe(element);
  }

  function ask(element, state) {
    element.dataset.query = JSON.stringify(state.also.length ? { also: state.also.join(",") } : {});
    delete element.dataset.version;
    ladder.refresh(element);
  }

  const ready = new WeakSet();
  ladder.views.training = (element, answer) => {
    const state = stateOf(element.dataset.run);
    if (!ready.has(element)) {
      ready.add(element);
      setUp(element);
    }
    if (state.also.length && !element.dataset.query?.includes(state.also[0])) {
      ask(element, state); // Gradio has made the place anew; what was laid over is still wanted
    }
    if (answer.runs) state.runs = answer.runs;
    element.dataset.version = answer.version;
    draw(element, state);
  };
  ladder.curves = { smooth, ticks, logTicks, nearest, tell };

  // ---- a LLaMA-Factory YAML becomes the form --------------------------------------------------

  document.addEventListener("change", async (event) => {
    const chooser = event.target.closest?.("[data-yaml-file]");
    if (!chooser?.files.length) return;
    const box = chooser.closest("[data-yaml]");
    $("textarea", box).value = await chooser.files[0].text();
    chooser.value = "";
    read(box);
  });
  document.addEventListener("click", (event) => {
    const go = event.target.closest?.("[data-yaml-go]");
    if (go) read(go.closest("[data-yaml]"));
  });

  async function read(box) {
    const told = $("[data-yaml-told]", box);
    const body = $("textarea", box).value;
    if (!body.trim()) return;
    let answer;
    try {
      const place = new URL("ladder/train/yaml", document.baseURI);
      answer = await (await fetch(place, { method: "POST", body, headers: { "content-type": "text/yaml" } })).json();
    } catch {
      answer = { error: ladder.say("shell.offline") };
    }
    if (answer.error) {
      told.innerHTML = `<p class="l-note l-tone-bad"><span>${escaped(answer.error)} ${escaped(answer.hint ?? "")}</span></p>`;
      return;
    }
    told.innerHTML = answer.html;
    const work = box.closest("[data-work]");
    work.dispatchEvent(new CustomEvent("ladder:fill", { detail: answer.ask }));
  }

  // ---- names in a field, put in and taken out by buttons --------------------------------------

  const names = (input) => input.value.split(",").map((word) => word.trim()).filter(Boolean);
  function press(field) {
    const input = $("input", field);
    for (const chip of $$("[data-toggle-word]", field)) {
      chip.setAttribute("aria-pressed", names(input).includes(chip.dataset.toggleWord));
    }
  }
  document.addEventListener("click", (event) => {
    const chip = event.target.closest?.("[data-toggle-word]");
    if (!chip) return;
    const field = chip.closest(".l-field");
    const input = $("input", field);
    const word = chip.dataset.toggleWord;
    const now = names(input);
    input.value = (now.includes(word) ? now.filter((one) => one !== word) : [...now, word]).join(",");
    // these are the studio's own data sets; a folder of somebody's own does not have them
    const folder = $('.l-field[data-name="dataset_dir"] input', field.closest("[data-form]"));
    if (folder) folder.value = JSON.parse(folder.closest(".l-field").dataset.default) ?? "";
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  document.addEventListener("input", (event) => {
    const field = event.target.closest?.(".l-field");
    if (field && $("[data-toggle-word]", field)) press(field);
  });
  document.addEventListener("ladder:formed", ({ target }) => {
    for (const field of $$(".l-field", target)) if ($("[data-toggle-word]", field)) press(field);
  });
})();
