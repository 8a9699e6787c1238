// The slider between before and after: by pointer, by touch, and by key on the range inside it.
// Its place is one for all pictures: `--cut` on the desk, so that variants compare at the same spot.
(() => {
  const $ = (selector, within = document) => within?.querySelector(selector);
  const $$ = (selector, within = document) => [...(within?.querySelectorAll(selector) ?? [])];
  let slid = 50;
  function slide(value) {
    slid = Math.min(100, Math.max(0, value));
    $("#image-desk")?.style.setProperty("--cut", `${slid}%`);
    for (const cut of $$("[data-image-cut]")) cut.value = slid;
  }

  let sliding = null;
  document.addEventListener("pointerdown", (event) => {
    const slider = event.target.closest?.("[data-image-slider]");
    if (!slider || event.button || event.target.closest("a")) return;
    sliding = slider;
    slider.setPointerCapture(event.pointerId);
    $("[data-image-cut]", slider).focus({ preventScroll: true });
    if (event.pointerType !== "touch") slideTo(event);
  });
  const slideTo = (event) => {
    const { left, width } = sliding.getBoundingClientRect();
    slide(((event.clientX - left) / width) * 100);
  };
  document.addEventListener("pointermove", (event) => {
    if (sliding) slideTo(event);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    document.addEventListener(kind, (event) => {
      if (sliding && kind === "pointerup") slideTo(event);
      sliding = null;
    });
  }

  document.addEventListener("input", ({ target }) => {
    if (target.matches?.("[data-image-cut]")) slide(Number(target.value));
  });
  document.addEventListener("ladder:shown", ({ target }) => {
    if (target.closest("#image-desk")) slide(slid);
  });
})();
