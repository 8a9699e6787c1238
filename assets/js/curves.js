// What small plots are made of: scales, ticks, smoothed values, and the SVG of a plot, all from plain
// values. train.js puts them on the page.
//
//   panels(runs, weight)            [[name, lines]], the important ones first; a line is one curve
//   scales(lines, zoom, log, width) where values lie in a plot, zoomed to [from, to] or not at all
//   drawing(lines, at, width, id)   the inside of its <svg>
(() => {
  const { ladder } = window;
  const HEIGHT = 168;
  const EDGE = { left: 46, right: 14, top: 8, bottom: 20 };
  const COLOURS = 6;
  const TOGETHER = { eval_loss: "loss", "rewards/rejected": "rewards/chosen" };
  const RAW = new Set(["lr", "eval_loss"]);
  const FIRST = ["loss", "grad_norm", "lr", "throughput", "samples_per_s", "accuracy"];

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

  // [[name, [{name, run, second, colour, x, y, sx, sy}]]], the important ones first
  function panels(runs, weight) {
    const found = new Map();
    runs.forEach((run, number) => {
      for (const [name, curve] of Object.entries(run.curves)) {
        const home = TOGETHER[name] ?? name;
        if (!found.has(home)) found.set(home, []);
        const second = home !== name;
        const raw = RAW.has(name) || !weight;
        found.get(home).push({
          name, run, second,
          colour: runs.length > 1 ? number % COLOURS : second ? 1 : 0,
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

  function scales(lines, zoom, log, width) {
    const all = (pick) => lines.flatMap((line) => pick(line));
    const x0 = zoom?.[0] ?? Math.min(...all((l) => [l.x[0] ?? Infinity]));
    const x1 = zoom?.[1] ?? Math.max(...all((l) => [l.x.at(-1) ?? -Infinity]));
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

  ladder.curves = {
    smooth, ticks, logTicks, nearest, tell, panels, titled, scales, drawing, escaped,
    HEIGHT, EDGE, COLOURS,
  };
})();
