// Sorts tables, saves them as CSV, and puts the chosen map into its frame. The page is complete without this script.
(() => {
  const button = (text, act) => {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", textContent: text });
    made.addEventListener("click", act);
    return made;
  };

  // The number at the start of a cell ("3 of 4", "< 0.001"); NaN for "–" and for text.
  const number = (cell) => parseFloat(cell.replace("−", "-").replace(/,|< /g, ""));
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : x - y;
  };
  const sort = (head) => {
    const up = head.ariaSort !== "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.ariaSort = up ? "ascending" : "descending";
    const body = head.closest("table").tBodies[0];
    const text = (row) => row.cells[head.cellIndex].textContent;
    const numeric = head.classList.contains("n");
    const missing = (row) => text(row) === "–";
    const order = (a, b) => (numeric ? compare(text(a), text(b)) : text(a).localeCompare(text(b), "en", { numeric: true }));
    const rows = [...body.rows].sort((a, b) => missing(a) - missing(b) || (up ? order(a, b) : order(b, a)));
    body.append(...rows);
  };

  // Plain numbers for programs; an apostrophe before text that a spreadsheet would take for a formula.
  const field = (cell) => {
    const text = cell === "–" ? "" : /^−[\d.]+$/.test(cell) ? cell.replace("−", "-") : cell;
    const guarded = /^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
  };
  const save = (table, name) => {
    const lines = [...table.rows].map((row) => [...row.cells].map((cell) => field(cell.textContent)).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`\ufeff${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
    link.download = `${name.replace(/[^\w]+/g, "_")}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  };

  for (const block of document.querySelectorAll("[data-name]")) {
    const table = block.querySelector("table");
    for (const head of table.tHead.rows[0].cells) head.replaceChildren(button(head.textContent, () => sort(head)));
    block.append(button("Save as CSV", () => save(table, block.dataset.name)));
  }

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
