// Pictures that are pasted or dragged onto the desk of the Image edit tab, and the order of those that
// lie there already. What becomes of them is in imagepictures.js.
(() => {
  const { ladder } = window;

  const seen = () => {
    const place = ladder.image.desk();
    return place && (place.checkVisibility ? place.checkVisibility() : true);
  };

  document.addEventListener("paste", (event) => {
    const { files } = event.clipboardData ?? {};
    if (!files?.length || !seen() || event.clipboardData.getData("text/plain")) return;
    if (event.target.closest?.("#image-worker")) return;
    event.preventDefault();
    ladder.imagePictures.add(files);
  });

  let moved = "";
  document.addEventListener("dragstart", (event) => {
    const slot = event.target.closest?.("[data-image-slot]");
    if (!slot) return;
    moved = slot.dataset.imageSlot;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", "");
  });
  document.addEventListener("dragend", () => (moved = ""));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      const slot = event.target.closest?.("[data-image-slot]");
      if (moved && slot) {
        event.preventDefault();
        if (kind === "drop") ladder.imagePictures.moveTo(moved, slot.dataset.imageSlot);
        return;
      }
      const place = event.target.closest?.("[data-image-desk]");
      if (!place || moved || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      const over = kind === "dragenter" || kind === "dragover";
      if (over || kind === "drop" || !place.contains(event.relatedTarget)) place.classList.toggle("l-over-drop", over);
      if (kind === "drop") ladder.imagePictures.add(event.dataTransfer.files);
    });
  }
})();
