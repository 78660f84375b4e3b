"use strict";
// Draws each specification into its figure. A chart follows the width of its column; where that is narrow, names are cut
// shorter and legends have one column.
const narrow = matchMedia("(max-width: 40rem)");

function fitted(text) {
  const spec = JSON.parse(text);
  if (narrow.matches) {
    spec.config.axis.labelLimit = 84;
    Object.assign(spec.config.legend, { columns: 1, labelFontSize: 11, labelLimit: 210, offset: 10 });
    const shorten = (part) => {
      if (part.encoding?.y?.axis) { delete part.encoding.y.axis.labelLimit; part.encoding.y.axis.labelFontSize = 11; }
    };
    (spec.layer ?? []).forEach(shorten);
  }
  return spec;
}

function draw() {
  delete document.documentElement.dataset.drawn;
  Promise.all([...document.querySelectorAll("script.spec")].map((block) => {
    const name = block.dataset.name;
    return vegaEmbed(`#${name}-chart`, fitted(block.textContent), {
      renderer: "svg", actions: false, bind: `#${name}-controls`,
    });
  })).then((drawn) => { document.documentElement.dataset.drawn = drawn.length; });
}

draw();
narrow.addEventListener("change", draw);
addEventListener("beforeprint", () => document.querySelectorAll("section details").forEach((d) => { d.open = true; }));
