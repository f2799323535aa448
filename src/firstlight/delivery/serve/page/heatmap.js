// The heatmap of a picture, on demand: where the model finds evidence for a class.

import { make, printable } from "./elements.js";
import { say } from "./saying.js";
import { explain } from "./server.js";
import { whyNot } from "./words.js";

const LOOK = "Show where it looks";
const PROVES = "It shows roughly where, not what the model sees there or why, and does not prove that the answer is right.";

// The controls of a heatmap that is shown in `frame`, over the picture.
export function heatmapFor(picture, frame) {
  const classes = picture.answer.top.map(({ label }) => make("option", { value: label }, printable(label)));
  const button = make("button", { type: "button", className: "second" }, LOOK);
  const choice = make("select", { ariaLabel: "The class that the heatmap is for" }, classes);
  const words = make("label", { className: "choice", hidden: true }, "for ", choice);
  const caption = make("figcaption", { className: "quiet small" });
  let shown = null;

  const hide = () => {
    shown?.remove();
    if (shown) URL.revokeObjectURL(shown.src);
    shown = null;
    button.textContent = LOOK;
    words.hidden = true;
    caption.textContent = "";
  };
  const show = async () => {
    const label = choice.value;
    button.disabled = true;
    caption.textContent = "Drawing the heatmap …";
    try {
      const url = URL.createObjectURL(await explain(picture, label));
      hide();
      shown = make("img", { src: url, className: "heat", alt: `Heatmap of ${picture.name} for ${label}` });
      frame.append(shown);
      button.textContent = "Show the picture";
      words.hidden = false;
      caption.textContent = `Red: where the model finds evidence for ${printable(label)}. ${PROVES}`;
      say(`The heatmap for ${label} is shown.`);
    } catch (error) {
      hide();
      caption.textContent = `No heatmap. ${printable(whyNot(error.message))}${error.kind === "busy" ? " Try again in a moment." : ""}`;
      say(caption.textContent);
    }
    button.disabled = false;
    if (document.activeElement === document.body) button.focus();
  };
  button.addEventListener("click", () => (shown ? hide() : show()));
  choice.addEventListener("change", show);
  return [make("div", { className: "buttons" }, button, words), caption];
}
