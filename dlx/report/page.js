// The charts of a report: drawn by Vega, with a cursor that mouse and keyboard move.
"use strict";
(() => {
  const state = { axis: "step", log: false };
  const views = new Map();

  function specOf(element) {
    const spec = JSON.parse(document.getElementById(element.dataset.spec).textContent);
    const { columns } = spec.usermeta;
    const names = Object.keys(columns);
    spec.data.values = columns[names[0]].map((_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
    if (!spec.usermeta.series) return spec;
    const x = spec.encoding.x;
    x.field = state.axis;
    x.title = state.axis === "time" ? "seconds of training" : "step";
    if (state.log) {
      spec.transform.push({ filter: "datum.y > 0" });
      const least = "datum.low > 0 ? datum.low : datum.y / 10";
      spec.transform.push({ calculate: `isValid(datum.low) ? (${least}) : null`, as: "low" });
      for (const one of [spec, ...spec.layer]) {
        if (one.encoding && one.encoding.y) one.encoding.y.scale = { type: "log" };
      }
    }
    return spec;
  }

  async function draw(element) {
    const before = views.get(element);
    if (before) before.finalize();
    const result = await vegaEmbed(element, specOf(element), { renderer: "svg", actions: false, tooltip: true, ast: true });
    views.set(element, result.view);
    if (result.spec.usermeta.series) follow(element, result);
  }

  // --- the cursor ---------------------------------------------------------------------------------------------------

  function follow(element, result) {
    const { view, spec } = result;
    const rows = view.data("points").filter((row) => row.y !== null && Number.isFinite(row[state.axis]));
    const places = [...new Set(rows.map((row) => row[state.axis]))].sort((a, b) => a - b);
    const readout = element.parentElement.querySelector(".readout");
    const line = document.createElement("div");
    line.className = "cursor";
    line.hidden = true;
    element.append(line);
    const byKey = new Map();
    for (const row of rows) {
      if (!byKey.has(row.key)) byKey.set(row.key, []);
      byKey.get(row.key).push(row);
    }
    let at = -1;

    function show(index) {
      at = Math.max(0, Math.min(places.length - 1, index));
      const x = places[at];
      const [left, top] = view.origin();
      const box = element.querySelector("svg").getBoundingClientRect(), own = element.getBoundingClientRect();
      line.hidden = false;
      line.style.left = `${box.left - own.left + left + view.scale("x")(x)}px`;
      line.style.top = `${box.top - own.top + top}px`;
      line.style.height = `${view.height()}px`;
      const words = spec.usermeta.series.map((one) => {
        const row = nearest(byKey.get(one.key) || [], x);
        return row ? `${one.label} ${one.metric} ${short(row.y)}` : "";
      });
      const unit = state.axis === "time" ? `${short(x)} s` : `step ${x.toLocaleString("en")}`;
      readout.textContent = `${unit}: ${words.filter(Boolean).join("; ")}`;
    }

    // the last point at or before x: a series may have others than its neighbours
    function nearest(series, x) {
      let low = 0, high = series.length - 1, found = null;
      while (low <= high) {
        const middle = (low + high) >> 1;
        if (series[middle][state.axis] <= x) { found = series[middle]; low = middle + 1; } else high = middle - 1;
      }
      return found;
    }

    element.onmousemove = (event) => {
      const box = element.querySelector("svg").getBoundingClientRect();
      const x = view.scale("x").invert(event.clientX - box.left - view.origin()[0]);
      let best = 0;
      places.forEach((place, i) => { if (Math.abs(place - x) < Math.abs(places[best] - x)) best = i; });
      if (places.length) show(best);
    };
    element.onmouseleave = () => { line.hidden = true; };
    element.onkeydown = (event) => {
      const far = Math.max(1, Math.round(places.length / 20));
      const step = event.shiftKey ? far : 1;
      const moves = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: places.length - 1 };
      if (event.key === "Escape") { line.hidden = true; readout.textContent = ""; return; }
      if (!(event.key in moves) || !places.length) return;
      event.preventDefault();
      show(moves[event.key]);
    };
  }

  function short(value) {
    return Number(value.toPrecision(4)).toString();
  }

  // --- the controls -------------------------------------------------------------------------------------------------

  async function redraw() {
    for (const element of document.querySelectorAll(".charts .plot")) await draw(element);
  }

  for (const button of document.querySelectorAll(".controls button")) {
    button.addEventListener("click", async () => {
      if (button.dataset.axis) state.axis = button.dataset.axis;
      else state.log = !state.log;
      pressAll();
      await redraw();
    });
  }

  function pressAll() {
    for (const other of document.querySelectorAll(".controls button")) {
      const pressed = other.dataset.axis ? other.dataset.axis === state.axis : state.log;
      other.setAttribute("aria-pressed", String(pressed));
    }
  }

  // --- tables that are sorted by the column whose title is pressed ---------------------------------------------------

  function sortBy(table, column, descending) {
    const [body] = table.tBodies, numeric = table.tHead.rows[0].cells[column].classList.contains("number");
    const worded = (row) => row.cells[column].textContent;
    const keyOf = (row) => numeric ? Number.parseFloat(worded(row).replaceAll(",", "")) : worded(row);
    const keyed = [...body.rows].map((row) => ({ row, key: keyOf(row) }));
    const missing = (key) => key === "" || Number.isNaN(key);
    keyed.sort((one, other) => {
      if (missing(one.key) || missing(other.key)) return missing(one.key) - missing(other.key);
      const order = numeric ? one.key - other.key : one.key.localeCompare(other.key, undefined, { numeric: true });
      return descending ? -order : order;
    });
    body.append(...keyed.map(({ row }) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const titles = [...table.tHead.rows[0].cells];
    titles.forEach((title, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title.textContent;
      title.replaceChildren(button);
      button.addEventListener("click", () => {
        const descending = title.getAttribute("aria-sort") === "ascending";
        titles.forEach((other) => other.removeAttribute("aria-sort"));
        title.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sortBy(table, column, descending);
      });
    });
  }

  // --- a page that is written anew while its runs go on -------------------------------------------------------------

  const root = document.documentElement, every = Number(root.dataset.reload || 0), MOST_ALIKE = 25;
  const place = `dlx report ${location.pathname}`;
  let alike = 0, paused = false;

  // what the page looked like before it was loaded anew; a browser may keep no storage for files
  function restore() {
    let saved = null;
    try { saved = JSON.parse(sessionStorage.getItem(place)); } catch { /* none */ }
    if (!saved) return () => {};
    Object.assign(state, saved.state);
    paused = every > 0 && saved.paused;
    alike = every > 0 && saved.written === root.dataset.written ? saved.alike + 1 : 0;
    pressAll();
    const all = [...document.querySelectorAll("details")];
    if (all.length === saved.open.length) all.forEach((one, i) => { one.open = saved.open[i]; });
    return () => window.scrollTo(0, saved.scroll);
  }

  function save() {
    const open = [...document.querySelectorAll("details")].map((one) => one.open);
    const saved = { state, open, paused, alike, scroll: window.scrollY, written: root.dataset.written };
    try { sessionStorage.setItem(place, JSON.stringify(saved)); } catch { /* none */ }
  }

  function tell() {
    const button = document.getElementById("pause");
    button.setAttribute("aria-pressed", String(paused));
    const stale = alike > MOST_ALIKE;
    document.querySelector(".reload span").textContent = stale
      ? `Nothing new since ${new Date(1000 * root.dataset.written).toLocaleString()}.`
      : `It trains on; this page loads itself anew every ${Math.round(every)} s.`;
    return !stale && !paused;
  }

  function again() {
    if (!tell()) return;
    const reload = () => { save(); location.reload(); };
    setTimeout(() => {
      if (paused) return;
      if (!document.hidden) reload();
      else document.addEventListener("visibilitychange", reload, { once: true });
    }, 1000 * every);
  }

  async function start() {
    const scroll = restore();
    for (const element of document.querySelectorAll(".plot")) await draw(element);
    scroll();
    document.documentElement.dataset.ready = "true";
    if (!every) return;
    document.getElementById("pause").addEventListener("click", () => {
      paused = !paused;
      alike = 0;
      if (paused) tell();
      else again();
    });
    again();
  }
  start();
})();
