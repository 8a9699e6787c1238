// The pictures an edit is made from: sent to the server as soon as they are chosen, and shown in slots
// whose order can be changed. Pasting and dragging are in imagedrop.js.
//
//   ladder.imagePictures.all           in their order: {key, name, url, share, done}, and what the
//                                      server says of each once it has it: {id, width, height, small}
//   ladder.imagePictures.send(p, file) a promise of the picture, or of null when it was refused
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within?.querySelector(selector);
  const url = (path) => new URL(path, document.baseURI);
  const most = () => Number(ladder.image.desk()?.dataset.most ?? 3);
  const all = [];
  let nextKey = 1;

  // What lay here before a reload: the server has them still.
  function restore(kept) {
    for (const p of kept) {
      all.push({ ...p, key: nextKey++, url: `ladder/image/upload/${p.id}`, small: `ladder/image/upload/${p.id}?small=1` });
    }
  }

  function add(files) {
    ladder.image.tell("");
    const room = most() - all.length;
    const chosen = [...files].filter((file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp|gif|bmp)$/i.test(file.name));
    if (!chosen.length && files.length) return ladder.image.tell(ladder.say("image.told.no_picture"));
    if (chosen.length > room) ladder.image.tell(ladder.say("image.told.too_many", { most: most() }));
    for (const file of chosen.slice(0, Math.max(0, room))) {
      const picture = { key: nextKey++, name: file.name || "picture.png", url: URL.createObjectURL(file), share: 0 };
      all.push(picture);
      picture.done = send(picture, file);
    }
    draw();
  }

  // Sends a file as the body of a request; resolves to the picture, or null when it was refused.
  function send(picture, file) {
    const largest = Number(ladder.image.desk()?.dataset.largest ?? Infinity);
    if (file.size > largest) {
      drop(picture);
      ladder.image.tell(`${picture.name}: ${ladder.say("image.told.too_large", { mb: Math.round(largest / 2 ** 20) })}`);
      return Promise.resolve(null);
    }
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      const address = url("ladder/image/upload");
      address.searchParams.set("name", picture.name);
      request.upload.onprogress = ({ loaded, total }) => {
        picture.share = total ? loaded / total : 0;
        const bar = $(`[data-image-slot="${picture.key}"] .l-img-sent`);
        if (bar) bar.style.width = `${picture.share * 100}%`;
      };
      request.onloadend = () => {
        const answer = ladder.image.parsed(request.responseText);
        if (request.status === 200 && answer.id) {
          Object.assign(picture, answer, { share: 1 });
          if (answer.made) offer(answer.made);
          draw();
          resolve(picture);
          return;
        }
        drop(picture);
        const said = [answer.error, answer.hint].filter(Boolean).join(" ");
        ladder.image.tell(`${picture.name}: ${said || ladder.say("image.told.cut_off")}`);
        resolve(null);
      };
      request.open("POST", address);
      request.setRequestHeader("content-type", "application/octet-stream");
      request.send(file);
    });
  }

  function drop(picture) {
    const at = all.indexOf(picture);
    if (at < 0) return;
    if (at === 0) ladder.imageMask.clear();
    all.splice(at, 1);
    draw();
  }

  function move(from, to) {
    if (to < 0 || to >= all.length || from === to) return;
    const [picture] = all.splice(from, 1);
    all.splice(to, 0, picture);
    if (from === 0 || to === 0) ladder.imageMask.clear();
    draw();
  }

  // Takes a picture that lies on the server already (a sample, a result) as if it had been dropped.
  async function take(path, name) {
    if (all.length >= most()) {
      const last = all.at(-1);
      drop(last);
    }
    const answer = await fetch(url(path));
    if (!answer.ok) return ladder.image.tell(ladder.say("image.told.cut_off"));
    const blob = await answer.blob();
    add([new File([blob], name, { type: blob.type })]);
  }

  function offer(made) {
    const place = $("[data-image-again]");
    if (!place) return;
    place.hidden = false;
    place.made = made;
    $("[data-image-again-said]", place).textContent = ladder.say("image.again.said", { prompt: made.prompt ?? "" });
  }

  // ---- drawing them ---------------------------------------------------------------------------

  const icon = (name) => {
    const like = $("#image-desk svg.l-icon use");
    const href = like?.getAttribute("href")?.replace(/#.*/, `#${name}`) ?? "";
    return `<svg class="l-icon" aria-hidden="true"><use href="${href}"/></svg>`;
  };
  const esc = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  function draw() {
    const place = ladder.image.desk();
    if (!place) return;
    const some = all.length > 0;
    place.classList.toggle("l-img-some", some);
    $("[data-image-drop]").hidden = some;
    for (const name of ["stage", "tools", "slots"]) $(`[data-image-${name}]`).hidden = !some;
    if (!some) $("[data-image-again]").hidden = true;
    drawSlots();
    const first = $("[data-image-first]");
    const address = all[0]?.url ?? "";
    if (some && first.getAttribute("src") !== address) {
      first.onload = () => ladder.imageMask.paint();
      first.src = address;
    } else ladder.imageMask.paint();
    ladder.image.button();
    ladder.image.keep();
  }

  function drawSlots() {
    const word = (key, n) => esc(ladder.say(`image.slot.${key}`, { n }));
    const items = all.map((picture, at) => {
      const n = at + 1;
      const wait = picture.id ? "" : `<i class="l-img-sent" style="width:${picture.share * 100}%"></i>`;
      const tool = (act, drawing, off) => `<button type="button" data-image-slot-${act}="${at}" title="${word(act, n)}" aria-label="${word(act, n)}"${off ? " disabled" : ""}>${icon(drawing)}</button>`;
      const size = picture.width ? `${picture.width} × ${picture.height}` : "";
      return `<li data-image-slot="${picture.key}" draggable="true" title="${esc(picture.name)}"><img src="${esc(picture.small ?? picture.url)}" alt="${word("name", n)}" draggable="false"><b>${n}</b>${wait}<span>${size}</span><div>${tool("left", "left", at === 0)}${tool("right", "right", at === all.length - 1)}${tool("remove", "cross")}</div></li>`;
    });
    const full = all.length >= most();
    $("[data-image-add]").hidden = !all.length || full;
    $("[data-image-samples]").hidden = full;
    ladder.morph($("[data-image-slots]"), items.join(""));
  }

  ladder.imagePictures = {
    all, restore, add, send, drop, move, take, draw, icon, esc,
    // Moves the picture of one slot to the place of another; both are keys of slots.
    moveTo: (one, other) => {
      const at = (key) => all.findIndex((picture) => String(picture.key) === key);
      move(at(one), at(other));
    },
  };
})();
