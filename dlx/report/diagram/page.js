(root => {
  "use strict";
  const own = (g, what) => [...g.children].filter(c => c.classList.contains(what));
  const round = points => points.map(([x, y], i) => {
    if (!i || i === points.length - 1) return `${i ? "L" : "M"}${x} ${y}`;
    const toward = ([a, b]) => {
      const far = Math.hypot(a - x, b - y), share = far ? Math.min(7 / far, 0.5) : 0;
      return `${x + share * (a - x)} ${y + share * (b - y)}`;
    };
    return `L${toward(points[i - 1])}Q${x} ${y} ${toward(points[i + 1])}`;
  }).join("");
  // Rows grow by what is open in them; all below them goes down. Returns the height of the frame.
  const flow = frame => {
    const boxes = own(frame, "box"), at = [], moved = [];
    let shift = 0;
    for (const [top, height, numbers] of JSON.parse(frame.dataset.rows)) {
      const sizes = numbers.map(i => size(boxes[i]));
      const most = Math.max(height, ...sizes);
      numbers.forEach((i, n) => {
        at[i] = [top + shift + (most - sizes[n]) / 2, sizes[n]];
        boxes[i].setAttribute("transform", `translate(${boxes[i].dataset.x} ${at[i][0]})`);
      });
      shift += most - height;
      moved.push([top + height / 2, shift]);
    }
    const down = y => y + moved.reduce((by, [middle, after]) => y > middle ? after : by, 0);
    const paths = own(frame, "e"), arrows = own(frame, "a");
    paths.forEach((path, n) => {
      const {p, s, t} = path.dataset, points = p.split(" ").map(pair => pair.split(",").map(Number));
      const last = points.length - 1, open = boxes[t].classList.contains("open");
      points.forEach(point => { point[1] = down(point[1]); });
      if (at[s][1] > 1) points[0][1] = at[s][0] + at[s][1];
      if (at[t][1] > 1) points[last][1] = at[t][0];
      path.setAttribute("d", round(points));
      if (arrows[n].hasAttribute("d")) arrows[n].setAttribute("d", open ? "M0 0" : `M${points[last]}l-3.5 -7h7z`);
    });
    return Number(frame.dataset.height) + shift;
  };
  const size = box => {
    const height = box.classList.contains("open") ? flow(own(box, "frame")[0]) : Number(box.dataset.h);
    const fold = own(box, "fold")[0];
    if (fold) fold.querySelector("rect").setAttribute("height", height);
    return height;
  };
  const fold = (button, open) => {
    button.parentNode.classList.toggle("open", open);
    button.setAttribute("aria-expanded", open);
    button.querySelector(".mark").setAttribute("d", open ? "M8 8l10 0l-5 8z" : "M9 7l8 5l-8 5z");
  };
  const settle = () => root.querySelectorAll("svg").forEach(svg => svg.setAttribute("height", flow(own(svg, "frame")[0])));
  const show = stop => {
    const facts = root.querySelector(".facts"), seen = stop.dataset.field && JSON.parse(stop.dataset.field);
    facts.textContent = stop.getAttribute("aria-label");
    if (!seen) return;
    const [high, wide, top, left, height, width] = seen, scale = 90 / Math.max(high, wide);
    const about = document.createElementNS(root.querySelector("svg").namespaceURI, "svg");
    about.setAttribute("width", wide * scale + 2);
    about.setAttribute("height", high * scale + 2);
    for (const [name, x, y, w, h] of [["whole", 0, 0, wide, high], ["seen", left, top, width, height]]) {
      const rect = document.createElementNS(about.namespaceURI, "rect");
      Object.entries({class: name, x: x * scale + 1, y: y * scale + 1, width: w * scale, height: h * scale})
        .forEach(pair => rect.setAttribute(...pair));
      about.append(rect);
    }
    facts.append(about);
  };
  const visible = () => [...root.querySelectorAll(".stop")].filter(stop => stop.getClientRects().length);
  const go = stop => {
    root.querySelectorAll(".stop[tabindex='0']").forEach(other => other.setAttribute("tabindex", "-1"));
    stop.setAttribute("tabindex", "0");
    stop.focus();
  };
  root.addEventListener("click", event => {
    const button = event.target.closest("button"), stop = event.target.closest(".stop");
    if (button) root.querySelectorAll(".fold").forEach(each => fold(each, !!button.dataset.all));
    else if (stop && stop.classList.contains("fold")) fold(stop, !stop.parentNode.classList.contains("open"));
    if (stop) go(stop);
    settle();
  });
  root.addEventListener("keydown", event => {
    const stop = event.target.closest(".stop");
    if (!stop) return;
    const stops = visible(), here = stops.indexOf(stop), isFold = stop.classList.contains("fold");
    const open = stop.parentNode.classList.contains("open");
    const next = {ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: stops.length - 1}[event.key];
    const wanted = {Enter: !open, " ": !open, ArrowRight: true, ArrowLeft: false}[event.key];
    if (next !== undefined && stops[next]) go(stops[next]);
    else if (isFold && wanted !== undefined) { fold(stop, wanted); settle(); }
    else return;
    event.preventDefault();
  });
  for (const name of ["focusin", "mouseover"]) root.addEventListener(name, event => {
    const stop = event.target.closest(".stop");
    if (stop) show(stop);
  });
  root.querySelectorAll(".fold[data-open]").forEach(each => fold(each, true));
  settle();
  const first = root.querySelector(".stop");
  if (first) first.setAttribute("tabindex", "0");
})(document.currentScript.parentElement);
