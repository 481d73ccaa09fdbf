// Draws the chosen map on the cortex. The data are described in report/cortex/surface_data.py.
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const [mapChoice, surfaceChoice, sideChoice, viewChoice] = ["map", "surface", "side", "view"].map(element);
  const outlines = element("outlines");
  const SIDES = ["left", "right"];
  const OUTLINE = 0.45; // brightness of a region's border
  // What faces the viewer has the colours of the scale.
  const LIT_FROM_THE_VIEWER = `#version 300 es
    precision highp float;
    uniform float opacity;
    in vec4 vClr;
    in vec3 vN;
    out vec4 color;
    void main() { color = vec4(vClr.rgb * (0.7 + 0.3 * abs(normalize(vN).z)), opacity); }`;
  const VIEWS = { back: [0, 0], left: [90, 0], right: [270, 0], top: [0, 90], bottom: [180, -90], front: [180, 0] };

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const int16 = (text) => new Int16Array(bytes(text).buffer);
  const faces = data.faces.map((text) => Uint32Array.from(new Uint16Array(bytes(text).buffer)));
  const greys = bytes(data.greys);
  const half = greys.length / 2;
  const colours = Object.fromEntries(Object.entries(data.colours).map(([name, text]) => [name, bytes(text)]));
  const members = data.regions.map((one) => bytes(one.members));

  // The values of a map on all vertices, NaN where it has none.
  const decoded = (map) => {
    const known = bytes(map.known);
    const steps = int16(map.values);
    let next = 0;
    return Float64Array.from({ length: 2 * half }, (_, v) => (known[v >> 3] & (1 << (v & 7)) ? map.step * steps[next++] : NaN));
  };

  // Vertices next to one of another region, on one side of each border.
  const borders = (regions) => {
    const found = new Uint8Array(2 * half);
    faces.forEach((own, side) => {
      for (let f = 0; f < own.length; f += 3) {
        const corners = [0, 1, 2].map((corner) => own[f + corner] + side * half);
        const [a, b, c] = corners.map((v) => regions[v]);
        const inner = Math.max(a, b, c);
        if (a !== b || b !== c) for (const v of corners) if (regions[v] === inner) found[v] = 1;
      }
    });
    return found;
  };

  const painted = (map, values) => {
    const lut = colours[map.colours];
    const last = lut.length / 3 - 1;
    const border = outlines.checked ? borders(members[map.regions]) : new Uint8Array(2 * half);
    const rgba = new Uint8Array(8 * half).fill(255);
    for (let v = 0; v < 2 * half; v++) {
      const at = Math.min(Math.max((values[v] - map.low) / (map.high - map.low), 0), 1);
      const place = 3 * Math.round(at * last);
      for (let k = 0; k < 3; k++) rgba[4 * v + k] = Number.isNaN(at) ? greys[v] : lut[place + k];
      if (border[v]) for (let k = 0; k < 3; k++) rgba[4 * v + k] *= OUTLINE;
    }
    return rgba;
  };

  data.maps.forEach((one, place) => mapChoice.append(new Option(`${one.figure}, ${one.title}`, place)));
  mapChoice.selectedIndex = data.maps.findLastIndex((one) => one.figure === data.maps[0].figure); // the mean, if there is one
  for (const kind of Object.keys(data.surfaces)) surfaceChoice.append(new Option(kind));

  const canvas = element("cortex");
  if (!canvas.getContext("webgl2")) {
    canvas.hidden = true;
    element("problem").hidden = false;
    element("problem").textContent = "This browser has no WebGL 2. The flat maps in the report show the same values.";
    return;
  }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const viewer = new niivue.Niivue({
    ...{ logLevel: "silent", show3Dcrosshair: false, dragAndDropEnabled: false, isColorbar: false },
    ...{ backColor: dark ? [0.106, 0.114, 0.133, 1] : [1, 1, 1, 1], viewModeHotKey: "", clipPlaneHotKey: "" },
  });
  await viewer.attachToCanvas(canvas);
  viewer.setSliceType(viewer.sliceTypeRender);
  const shader = viewer.setCustomMeshShader(LIT_FROM_THE_VIEWER, "lit from the viewer");

  let map, values, points, meshes = [];
  const paint = () => {
    map = data.maps[mapChoice.value];
    values = decoded(map);
    const rgba = painted(map, values);
    meshes.forEach((mesh, side) => {
      mesh.rgba255 = rgba.slice(4 * side * half, 4 * (side + 1) * half);
      mesh.updateMesh(viewer.gl);
    });
    viewer.drawScene();
    const lut = colours[map.colours];
    const starts = [...Array(17).keys()].map((n) => 3 * Math.round((n / 16) * (lut.length / 3 - 1)));
    const stops = starts.map((start) => [...lut.slice(start, start + 3)]);
    element("bar").style.background = `linear-gradient(to right, ${stops.map((rgb) => `rgb(${rgb})`).join(", ")})`;
    const shown = (value) => (map.whole ? String(value) : value.toPrecision(2)).replace("-", "−");
    [element("low").textContent, element("name").textContent, element("high").textContent] = [shown(map.low), map.scale, shown(map.high)];
  };
  const show = () => {
    meshes.forEach((mesh) => viewer.removeMesh(mesh));
    points = data.surfaces[surfaceChoice.value].map((text) => Float32Array.from(int16(text), (step) => step / data.steps_per_mm));
    meshes = points.map((own, side) => new niivue.NVMesh(own, faces[side], SIDES[side], new Uint8Array(4 * half).fill(255), 1, true, viewer.gl));
    meshes.forEach((mesh, side) => {
      mesh.visible = sideChoice.value === "both" || Number(sideChoice.value) === side;
      viewer.addMesh(mesh);
      viewer.setMeshShader(mesh.id, shader);
    });
    paint();
  };
  const turn = () => viewer.setRenderAzimuthElevation(...VIEWS[viewChoice.value]);

  viewer.onLocationChange = ({ mm }) => {
    let [nearest, side, vertex] = [Infinity, 0, 0];
    points.forEach((own, turn) => {
      for (let v = 0; meshes[turn].visible && v < half; v++) {
        const distance = Math.hypot(own[3 * v] - mm[0], own[3 * v + 1] - mm[1], own[3 * v + 2] - mm[2]);
        if (distance < nearest) [nearest, side, vertex] = [distance, turn, v];
      }
    });
    const place = vertex + side * half;
    const names = data.regions[map.regions].names.filter((_, bit) => members[map.regions][place] & (1 << bit));
    const value = Number.isNaN(values[place]) ? "no value" : `${map.unit} ${map.whole ? values[place] : values[place].toFixed(3)}`.replace("-", "−");
    element("value").textContent = `${[`${SIDES[side]} hemisphere, vertex ${vertex}`, ...names].join(", ")}: ${value}`;
  };
  // A click that did not turn the brain picks a vertex; niivue itself picks on a double click.
  let pressed = [0, 0];
  canvas.addEventListener("pointerdown", (event) => (pressed = [event.offsetX, event.offsetY]));
  canvas.addEventListener("click", (event) => {
    if (Math.hypot(event.offsetX - pressed[0], event.offsetY - pressed[1]) > 3) return;
    viewer.mousePos = [event.offsetX, event.offsetY].map((place) => place * viewer.uiData.dpr);
    viewer.uiData.mouseDepthPicker = true;
    viewer.drawScene();
  });
  mapChoice.addEventListener("change", paint);
  outlines.addEventListener("change", paint);
  surfaceChoice.addEventListener("change", show);
  sideChoice.addEventListener("change", show);
  viewChoice.addEventListener("change", turn);
  show();
  turn();
  viewer.setScale(Math.min(1.5, 1.1 * canvas.clientWidth / canvas.clientHeight));
  document.body.dataset.drawn = "true";
})();
