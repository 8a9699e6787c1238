// The Chat tab's own behaviour: side panels, renaming in place, copying an answer, the clock of a
// server on its way, and noticing that an endpoint came or went.
(() => {
  const { ladder } = window;
  const $ = (selector, within = document) => within.querySelector(selector);
  const COOKIE = "ladder_browser";
  const WIDE = 1000;

  // A guest's conversations belong to the browser; this is how the server tells browsers apart.
  if (!document.cookie.split("; ").some((part) => part.startsWith(`${COOKIE}=`))) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const secret = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    document.cookie = `${COOKIE}=${secret};path=/;max-age=31536000;samesite=strict`;
  }

  // ---- side panels: open where there is room, as the visitor left them ------------------------

  const kept = (what) => localStorage.getItem(`ladder_chat_${what}`);
  const open = (what) => {
    if (window.innerWidth < WIDE) return false;
    return (kept(what) ?? (what === "side" ? "1" : "")) === "1";
  };
  const set = (what, on) => {
    const frame = $("#chat-frame");
    if (!frame) return;
    frame.classList.toggle(`chat-with-${what}`, on);
    for (const button of document.querySelectorAll(`[data-chat-toggle="${what}"]`)) {
      button.setAttribute("aria-pressed", on);
      button.title = ladder.say(`chat.toggle.${what}`);
      button.setAttribute("aria-label", button.title);
    }
  };
  const toggle = (what) => {
    const on = !$("#chat-frame").classList.contains(`chat-with-${what}`);
    if (window.innerWidth >= WIDE) localStorage.setItem(`ladder_chat_${what}`, on ? "1" : "");
    else if (on) set(what === "side" ? "settings" : "side", false);
    set(what, on);
  };

  // ---- clicks ---------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const { target } = event;
    const switched = target.closest("[data-chat-toggle]");
    if (switched) return toggle(switched.dataset.chatToggle);
    const rename = target.closest("[data-chat-rename]");
    if (rename) return startRename(rename);
    if (target.closest(".chat-earlier")) return act($("#chat-listing .chat-list"), "earlier");
    const copy = target.closest(".chat-copy");
    if (copy) return copyAnswer(copy);
    for (const menu of document.querySelectorAll(".chat-menu[open]")) {
      if (!menu.contains(target) || target.closest("a, button")) menu.open = false;
    }
    const narrow = window.innerWidth < WIDE;
    if (narrow && target.closest(".chat-open, #chat-new")) set("side", false);
    if (target.closest("#chat-new, .chat-open")) $("#chat-box textarea")?.focus();
  });

  // ---- pictures: paste and drop go through the button's own file field -------------------------

  const KINDS = "image/png,image/jpeg,image/webp,image/gif,image/bmp";
  const field = () => $("#chat-ask input[type=file]");

  function attach(files) {
    const input = field();
    if (!input || !files.length) return;
    const carried = new DataTransfer();
    for (const file of files) carried.items.add(file);
    input.files = carried.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  function attaching(on) {
    const ask = $("#chat-ask");
    ask?.classList.toggle("chat-attaching", on);
    clearTimeout(attaching.timer);
    if (on) attaching.timer = setTimeout(() => attaching(false), 60_000);
  }

  document.addEventListener("change", (event) => {
    if (event.target === field() && event.target.files.length) attaching(true);
  }, true);

  document.addEventListener("paste", (event) => {
    if (!event.target.closest?.("#chat-main")) return;
    const { files } = event.clipboardData;
    // A copied table or formula is text and, beside it, a picture of itself: the text is meant.
    if (!files.length || event.clipboardData.getData("text/plain")) return;
    event.preventDefault();
    attach(files);
  });

  const over = (event) => {
    const chat = event.target.closest?.("#chat-main");
    return chat && event.dataTransfer?.types.includes("Files") && field() ? chat : null;
  };
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      const chat = over(event);
      if (!chat) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      chat.dataset.drop = ladder.say("chat.picture.drop");
    });
  }
  document.addEventListener("dragleave", (event) => {
    const chat = event.target.closest?.("#chat-main");
    if (chat && !chat.contains(event.relatedTarget)) delete chat.dataset.drop;
  });
  document.addEventListener("drop", (event) => {
    const chat = over(event);
    if (!chat) return;
    event.preventDefault();
    event.stopPropagation();
    delete chat.dataset.drop;
    attach(event.dataTransfer.files);
    $("#chat-box textarea")?.focus();
  }, true);

  // ---- a picture in full ------------------------------------------------------------------------

  function enlarge(image) {
    const near = image.closest(".chat-pictures, .chat-attached");
    const all = [...near.querySelectorAll("img")];
    let at = all.indexOf(image);
    const box = Object.assign(document.createElement("dialog"), { className: "chat-lightbox" });
    const large = document.createElement("img");
    const button = (name, act) => {
      const made = document.createElement("button");
      made.type = "button";
      made.className = `chat-lightbox-${name}`;
      made.title = ladder.say(`chat.picture.${name}`);
      made.setAttribute("aria-label", made.title);
      made.onclick = (event) => (event.stopPropagation(), act());
      return made;
    };
    const go = (step) => {
      at = (at + step + all.length) % all.length;
      large.src = all[at].src;
      large.alt = all[at].alt;
    };
    box.append(large, button("close", () => box.close()));
    if (all.length > 1) {
      box.append(button("previous", () => go(-1)), button("next", () => go(1)));
      box.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) go(step);
      });
    }
    box.onclick = () => box.close();
    box.onclose = () => box.remove();
    go(0);
    document.body.append(box);
    box.showModal();
  }

  document.addEventListener("click", (event) => {
    const image = event.target.closest(".chat-picture")?.querySelector("img")
      ?? event.target.closest(".chat-attachment img");
    if (image) enlarge(image);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll(".chat-menu[open]")) menu.open = false;
    if (window.innerWidth < WIDE) for (const what of ["side", "settings"]) set(what, false);
  });

  let renaming = null;

  function startRename(button, typed = null) {
    const item = button.closest(".chat-item");
    const title = $(".chat-title", item);
    item.querySelector(".chat-menu").open = false;
    const field = Object.assign(document.createElement("input"), {
      value: typed ?? title.textContent, className: "chat-rename",
    });
    const done = (keep) => {
      if (!field.isConnected) return;
      const text = field.value.trim();
      renaming = null;
      field.remove();
      if (!keep || !text || text === title.textContent) return;
      title.textContent = text;
      act(item, "rename", JSON.stringify({ id: button.dataset.chatRename, title: text }));
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) done(true);
      if (event.key === "Escape") done(false);
    });
    field.addEventListener("blur", () => setTimeout(() => done(true))); // not when it was taken away
    item.append(field);
    renaming = { id: button.dataset.chatRename, field };
    if (typed === null) field.select();
    else field.focus();
  }

  // The list is drawn anew when an answer ends, also while somebody types a title in it.
  function goOnRenaming() {
    if (!renaming || renaming.field.isConnected) return;
    const { id, field } = renaming;
    renaming = null;
    const button = $(`[data-chat-rename="${CSS.escape(id)}"]`);
    if (button) startRename(button, field.value);
  }

  // Raises an act as if a button of that name had been pressed inside `within`.
  function act(within, name, value = "") {
    const button = document.createElement("button");
    button.type = "button";
    button.hidden = true;
    Object.assign(button.dataset, { act: name, value });
    within.append(button);
    button.click();
    button.remove();
  }

  // The chat component keeps the Markdown of a bubble in its label, after "bot's message: ".
  async function copyAnswer(button) {
    const row = button.closest(".message-row");
    const texts = [...row.querySelectorAll('[data-testid="bot"]')]
      .filter((node) => !$(".chat-facts, .chat-fault, .thought-group", node))
      .map((node) => (node.getAttribute("aria-label") ?? "").replace(/^[^:：]*[:：]\s?/, ""));
    const text = texts.join("\n\n") || row.innerText;
    await ladder.copy(text);
    button.classList.add("chat-copied");
    setTimeout(() => button.classList.remove("chat-copied"), 1400);
  }

  // ---- a server on its way, and endpoints that come and go ------------------------------------

  ladder.views.chatStart = (element, data) => {
    if (element.dataset.version !== String(data.version)) {
      element.dataset.version = data.version;
      ladder.morph(element, data.html);
    }
    clocks();
    if (data.ready && !element.dataset.told) {
      element.dataset.told = "1";
      act(element, "arrived", data.run);
    }
  };

  ladder.views.chatEndpoints = (element, data) => {
    const before = element.dataset.version;
    element.dataset.version = data.version;
    if (before !== undefined && before !== data.version) act(element, "refresh");
  };

  function clocks() {
    const now = Date.now() / 1000;
    for (const node of document.querySelectorAll("[data-chat-since]")) {
      const span = Math.max(0, Math.floor(now - Number(node.dataset.chatSince)));
      node.textContent = `${Math.floor(span / 60)}:${String(span % 60).padStart(2, "0")}`;
    }
  }
  setInterval(clocks, 1000);

  // Gradio draws the frame later than this runs, and again when the tab is opened again.
  const dress = () => {
    const frame = $("#chat-frame");
    if (!frame || frame.dataset.dressed) return;
    frame.dataset.dressed = "1";
    for (const what of ["side", "settings"]) set(what, open(what));
    fit();
  };
  const dressField = () => {
    const input = field();
    if (!input || input.accept === KINDS) return;
    input.accept = KINDS;
    $("#chat-attach").title = ladder.say("chat.picture.add");
  };

  // The chat fills the window between header and footer, whatever their heights are.
  const fit = () => {
    for (const [name, selector] of [["top", ".l-top"], ["foot", ".l-foot"]]) {
      const height = $(selector)?.offsetHeight;
      if (height) $("#chat-frame")?.style.setProperty(`--chat-${name}`, `${height}px`);
    }
  };
  window.addEventListener("resize", fit);
  new MutationObserver((changes) => {
    dress();
    dressField();
    goOnRenaming();
    if (changes.some(({ target }) => target.closest?.("#chat-strip"))) attaching(false);
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
