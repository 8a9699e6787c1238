// The mask of the edit desk: strokes and boxes over the first picture, kept as shares of its sides.
//
//   ladder.imageMask.marks       what was drawn, in order; kept over a reload by image.js
//   ladder.imageMask.file()      a promise of the mask as a PNG: white where the picture may change
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  const LARGEST = 1536; // longer side of the mask that is sent, in pixels
  const marks = [];
  let tool = "";

  function clear() {
    marks.length = 0;
  }

  const brush = () => Number($("[data-image-size]")?.value ?? 8) / 100; // of the longer side

  function strokes(context, width, height) {
    const longer = Math.max(width, height);
    context.lineCap = "round";
    context.lineJoin = "round";
    for (const mark of marks) {
      context.globalCompositeOperation = mark.erase ? "destination-out" : "source-over";
      if (mark.box) {
        const [x, y, w, h] = mark.box;
        context.fillRect(x * width, y * height, w * width, h * height);
        continue;
      }
      context.lineWidth = mark.size * longer;
      context.beginPath();
      mark.points.forEach(([x, y], n) => context[n ? "lineTo" : "moveTo"](x * width, y * height));
      const [x, y] = mark.points[0];
      if (mark.points.length === 1) context.lineTo(x * width + 0.01, y * height);
      context.stroke();
    }
    context.globalCompositeOperation = "source-over";
  }

  function paint() {
    const canvas = $("[data-image-mask]");
    const image = $("[data-image-first]");
    if (!canvas || !image?.naturalWidth) return;
    canvas.parentElement.style.setProperty("--w", image.naturalWidth);
    canvas.parentElement.style.setProperty("--h", image.naturalHeight);
    const scale = Math.min(1, 900 / Math.max(image.naturalWidth, image.naturalHeight));
    const width = Math.max(1, Math.round(image.naturalWidth * scale));
    const height = Math.max(1, Math.round(image.naturalHeight * scale));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const colour = getComputedStyle(canvas).getPropertyValue("--l-accent") || "#0b7285";
    context.strokeStyle = context.fillStyle = colour.trim();
    strokes(context, width, height);
    canvas.classList.toggle("l-img-armed", Boolean(tool));
    for (const name of ["undo", "clear"]) $(`[data-image-mask-${name}]`).disabled = !marks.length;
    $("[data-image-tools]").classList.toggle("l-img-marked", marked());
  }

  const marked = () => marks.some((mark) => !mark.erase);

  // The mask as a picture: white where it may change, in the shape of the first picture.
  function maskFile() {
    const image = $("[data-image-first]");
    const scale = Math.min(1, LARGEST / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    const layer = canvas.cloneNode();
    const context = layer.getContext("2d");
    context.strokeStyle = context.fillStyle = "#fff";
    strokes(context, layer.width, layer.height);
    const whole = canvas.getContext("2d");
    whole.fillStyle = "#000";
    whole.fillRect(0, 0, canvas.width, canvas.height);
    whole.drawImage(layer, 0, 0);
    return new Promise((resolve) => canvas.toBlob((blob) => resolve(new File([blob], "mask.png", { type: "image/png" })), "image/png"));
  }

  function place(event) {
    const { left, top, width, height } = $("[data-image-mask]").getBoundingClientRect();
    const clip = (value) => Math.min(1, Math.max(0, value));
    return [clip((event.clientX - left) / width), clip((event.clientY - top) / height)];
  }

  let drawing = null;

  function begin(event) {
    if (!tool || event.button) return;
    event.preventDefault();
    event.target.setPointerCapture(event.pointerId);
    const at = place(event);
    drawing = tool === "box"
      ? { mark: { box: [...at, 0, 0] }, from: at }
      : { mark: { points: [at], size: brush(), erase: tool === "erase" }, from: at };
    marks.push(drawing.mark);
    paint();
  }

  function go(event) {
    ring(event);
    if (!drawing) return;
    const at = place(event);
    if (drawing.mark.box) {
      const [x, y] = drawing.from;
      drawing.mark.box = [Math.min(x, at[0]), Math.min(y, at[1]), Math.abs(at[0] - x), Math.abs(at[1] - y)];
    } else drawing.mark.points.push(at);
    paint();
  }

  function finish() {
    if (!drawing) return;
    const { box } = drawing.mark;
    if (box && (box[2] < 0.004 || box[3] < 0.004)) marks.pop(); // a click, no box
    drawing = null;
    paint();
    ladder.image.keep();
  }

  // A ring as large as the brush follows the pointer.
  function ring(event) {
    const round = $("[data-image-ring]");
    const canvas = $("[data-image-mask]");
    if (!round || !canvas) return;
    const on = event && (tool === "brush" || tool === "erase") && event.pointerType !== "touch";
    round.hidden = !on;
    if (!on) return;
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const size = brush() * Math.max(width, height);
    const frame = canvas.parentElement.getBoundingClientRect();
    Object.assign(round.style, {
      width: `${size}px`, height: `${size}px`,
      left: `${event.clientX - frame.left - size / 2}px`, top: `${event.clientY - frame.top - size / 2}px`,
    });
    round.hidden = event.clientX < left || event.clientX > left + width || event.clientY < top || event.clientY > top + height;
  }

  function choose(wanted) {
    tool = tool === wanted ? "" : wanted;
    for (const one of $$("[data-image-tool]")) one.setAttribute("aria-pressed", String(one.dataset.imageTool === tool));
    paint();
  }

  // ---- pointer, buttons, keys -------------------------------------------------------------------

  document.addEventListener("pointerdown", (event) => {
    if (event.target.matches?.("[data-image-mask]")) begin(event);
  });
  document.addEventListener("pointermove", (event) => {
    if (event.target.matches?.("[data-image-mask]") || drawing) go(event);
    else if (!$("[data-image-ring]")?.hidden) ring(null);
  });
  for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, finish);

  document.addEventListener("click", ({ target }) => {
    const picked = target.closest?.("[data-image-tool]");
    if (picked) return choose(picked.dataset.imageTool);
    if (target.closest?.("[data-image-mask-undo]")) marks.pop();
    else if (target.closest?.("[data-image-mask-clear]")) clear();
    else return;
    paint();
    ladder.image.keep();
  });

  document.addEventListener("keydown", (event) => {
    if (!event.target.closest?.("#image-desk")) return;
    const undo = event.key === "z" && (event.ctrlKey || event.metaKey);
    if (undo && marks.length && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
      event.preventDefault();
      marks.pop();
      paint();
      ladder.image.keep();
    }
    if (event.key === "Escape" && tool) choose(tool);
  });

  ladder.imageMask = { marks, clear, paint, marked, file: maskFile };
})();
