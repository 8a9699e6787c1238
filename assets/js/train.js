// The curves of a training on the page: small plots that share one step axis (curves.js draws them).
//
//   <section class="l-curves" data-ladder-live="run/ID/series" data-show="training" data-run="ID">
//
// Smoothing and log scale are kept in the browser, a zoom (drag; double click undoes it) and the
// runs laid over this one are kept per run while the page is open, so updates change neither.
(() => {
  const { ladder } = window;
  const { HEIGHT, EDGE, COLOURS, nearest, tell, panels, titled, scales, drawing, escaped } = ladder.curves;
  const $ = (selector, within) => within.querySelector(selector);
  const $$ = (selector, within) => [...within.querySelectorAll(selector)];
  const states = new Map();

  const kept = (key, otherwise) => JSON.parse(localStorage.getItem(key) ?? "null") ?? otherwise;
  const keep = (key, value) => localStorage.setItem(key, JSON.stringify(value));

  function stateOf(run) {
    if (!states.has(run)) states.set(run, { run, also: [], zoom: null, runs: [], drawn: new Map() });
    return states.get(run);
  }

  function draw(element, state) {
    const weight = kept("ladder_smoothing", 0.6);
    const log = kept("ladder_log_scale", false);
    const grid = $(".l-curve-grid", element);
    const found = panels(state.runs, weight);
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
      const at = scales(lines, state.zoom, log && lines.some((l) => l.y.some((v) => v > 0)), width);
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
})();
