// A button that opens a small box beneath it. Escape, or a press elsewhere, closes it.

export function popup(button, box, onopen = () => {}) {
  const show = (isOpen) => {
    box.hidden = !isOpen;
    button.setAttribute("aria-expanded", isOpen);
    if (isOpen) onopen();
  };
  button.addEventListener("click", () => show(box.hidden));
  document.addEventListener("pointerdown", (event) => {
    if (!box.hidden && !box.contains(event.target) && !button.contains(event.target)) show(false);
  });
  for (const part of [box, button]) {
    part.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || box.hidden) return;
      event.preventDefault();
      show(false);
      button.focus();
    });
  }
  return { close: () => show(false) };
}
