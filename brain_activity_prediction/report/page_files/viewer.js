// In the frame of a map, between nilearn's libraries and the map's own script: sliders beside the viewer, which
// listens to the mouse alone, and the value under the cross in words.
(() => {
  const draw = window.brainsprite;
  const context = HTMLCanvasElement.prototype.getContext;
  // The viewer reads pixels back, which browsers want to be told.
  HTMLCanvasElement.prototype.getContext = function (kind) {
    return context.call(this, kind, { willReadFrequently: true });
  };
  // The viewer writes whole numbers with a point behind them: "8.".
  window.displayFloat = (value, digits) => String(Number(parseFloat(value).toFixed(digits)));
  const axes = [["X", "left to right"], ["Y", "back to front"], ["Z", "below to above"]];
  const { unit, whole } = document.body.dataset;

  window.brainsprite = (settings) => {
    const sliders = {};
    const readout = document.createElement("output");
    readout.setAttribute("aria-live", "polite");
    let viewer = null;

    const show = () => {
      for (const [axis] of axes) sliders[axis].value = viewer.numSlice[axis];
      const value = viewer.voxelValue;
      const shown = whole === "true" ? Math.round(value) : value.toFixed(2);
      const place = axes.map(([axis]) => `${axis.toLowerCase()} ${Math.round(viewer.coordinatesSlice[axis])}`);
      readout.textContent = `${place.join(", ")} mm: ${Number.isNaN(value) ? "no fitted voxel" : `${unit} ${shown}`}`;
    };
    settings.onclick = show;
    settings.nbDecimals = whole === "true" ? 0 : 2;
    viewer = draw(settings);

    const below = document.getElementById(settings.canvas).parentElement;
    for (const [axis, words] of axes) {
      const label = document.createElement("label");
      const slider = document.createElement("input");
      Object.assign(slider, { type: "range", min: 0, max: viewer.nbSlice[axis] - 1, step: 1 });
      slider.addEventListener("input", () => {
        viewer.numSlice[axis] = Number(slider.value);
        viewer.init();
        viewer.drawAll();
        show();
      });
      label.append(`${axis.toLowerCase()}, ${words}`, slider);
      below.append(label);
      sliders[axis] = slider;
    }
    document.querySelector("input.slider").setAttribute("aria-label", "opacity of the map in percent");
    below.append(readout);
    show();
    return viewer;
  };
})();
