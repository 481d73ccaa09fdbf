// Puts the chosen map into its frame. Everything else on the page works without a script.
(() => {
  const data = document.getElementById("frames");
  if (!data) return;
  const { head, before, maps } = JSON.parse(data.textContent);
  const frame = document.getElementById("map-frame");
  const choice = document.getElementById("map-choice");
  const script = (text) => `<script>${text}<\/script>`;

  const fit = () => {
    const inside = frame.contentDocument;
    if (inside && inside.body) frame.style.height = `${inside.body.offsetHeight}px`;
  };
  const show = () => {
    const map = maps[choice.selectedIndex];
    frame.title = map.title;
    const body = `<body data-unit="${map.unit}" data-whole="${map.whole}">`;
    frame.srcdoc = head + body + map.body + before.map(script).join("") + script(map.script);
  };
  frame.addEventListener("load", () => {
    fit();
    new ResizeObserver(fit).observe(frame.contentDocument.body);
  });
  choice.addEventListener("change", show);
  show();
})();
