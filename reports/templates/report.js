"use strict";
(() => {
  const narrow = window.matchMedia("(max-width: 600px)").matches;
  const config = {
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
    responsive: true,
  };
  const plots = [...document.querySelectorAll("[data-figure]")];
  for (const plot of plots) {
    const figure = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    if (narrow) {
      figure.layout.dragmode = false; /* a finger scrolls the page, not the axes */
    }
    /* over a small figure the buttons would lie on its title; a double click resets it as well */
    const displayModeBar = plot.clientWidth < 640 ? false : "hover";
    Plotly.newPlot(plot, figure.data, figure.layout, { ...config, displayModeBar });
  }
  window.addEventListener("beforeprint", () => plots.forEach((plot) => Plotly.Plots.resize(plot)));

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {
        /* a page from a file may lack the clipboard: select the text, so that one key copies it */
        window.getSelection().selectAllChildren(source);
        button.textContent = "Selected";
        return;
      }
      button.textContent = "Copied";
      window.setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
