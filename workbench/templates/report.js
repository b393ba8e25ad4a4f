// Draws the page's charts in the colours of its scheme, and again when scheme or width change.
(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const root = document.documentElement;
  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = { displayModeBar: false, responsive: false, scrollZoom: false, doubleClick: "reset" };

  const shade = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  /** A figure's layout in the page's colours; on a narrow page with less room around the plot. */
  function layoutOf(figure, width) {
    const layout = structuredClone(figure.layout);
    const [ink, quiet, rule, raised] = ["--ink", "--quiet", "--rule", "--raised"].map(shade);
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink };
    layout.hoverlabel = { bgcolor: raised, bordercolor: quiet, font: { color: ink, size: 13 }, align: "left" };
    layout.dragmode = coarse ? false : "zoom";
    for (const name of ["xaxis", "yaxis"]) {
      const axis = layout[name] ?? {};
      layout[name] = { ...axis, gridcolor: rule, linecolor: quiet, zerolinecolor: axis.zeroline ? quiet : rule,
        tickfont: { color: quiet, size: 12.5 }, title: { ...axis.title, font: { color: ink, size: 13 }, standoff: 10 } };
    }
    if (width < 480 && layout.xaxis.tickformat !== ".0%") layout.xaxis.nticks = 5;
    return layout;
  }

  function tracesOf(figure) {
    const traces = structuredClone(figure.data);
    for (const trace of traces) {
      if (trace.meta?.role === "front") trace.line.color = shade("--quiet");
      if (trace.meta?.role === "names") trace.textfont = { color: shade("--ink"), size: 12.5 };
    }
    return traces;
  }

  const overlaps = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
  const sides = ["middle right", "middle left", "top center", "bottom center", "top right", "top left", "bottom right", "bottom left"];

  /** Where a label of a size would lie beside a point. */
  function boxAt(side, point, width, height) {
    const gap = 10;
    const x = side.endsWith("right") ? point.x + gap : side.endsWith("left") ? point.x - gap - width : point.x - width / 2;
    const y = side.startsWith("top") ? point.y - gap - height : side.startsWith("bottom") ? point.y + gap : point.y - height / 2;
    return { x, y, w: width, h: height };
  }

  /** The steps of the Pareto front as thin boxes, for no name to lie on. */
  function frontLines(plot) {
    const front = plot.data.find((trace) => trace.meta?.role === "front");
    const { xaxis, yaxis } = plot._fullLayout;
    return front.x.slice(1).flatMap((_, at) => {
      const [x1, x2] = [xaxis.d2p(front.x[at]), xaxis.d2p(front.x[at + 1])];
      const [y1, y2] = [yaxis.d2p(front.y[at]), yaxis.d2p(front.y[at + 1])];
      const [level, upright] = front.line.shape === "hv" ? [y1, x2] : [y2, x1];
      const top = Math.min(y1, y2);
      return [{ x: x1, y: level - 1, w: x2 - x1, h: 2 }, { x: upright - 1, y: top, w: 2, h: Math.abs(y2 - y1) }];
    });
  }

  /** Give each point's name a side where it covers nothing; a name without room goes, for the table has it. */
  function placeNames(plot) {
    const place = plot.data.findIndex((trace) => trace.meta?.role === "names");
    if (place < 0) return undefined;
    const { xaxis, yaxis } = plot._fullLayout;
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `600 13px ${getComputedStyle(document.body).fontFamily}`;
    const names = figures[plot.dataset.figure].data[place];
    const bars = plot.data.filter((trace) => trace.meta?.role === "artifact").map((trace) => {
      const [x, y] = [xaxis.d2p(trace.x[0]), yaxis.d2p(trace.y[0])];
      const [top, foot] = [yaxis.d2p(trace.y[0] + trace.error_y.array[0]), yaxis.d2p(trace.y[0] - trace.error_y.arrayminus[0])];
      return { point: { x, y }, box: { x: x - 2, y: top, w: 4, h: foot - top } };
    });
    const taken = bars.map(({ point: { x, y } }) => ({ x: x - 7, y: y - 7, w: 14, h: 14 }));
    const front = frontLines(plot);
    const found = names.text.map(() => ({ text: "", side: "middle right" }));
    const order = names.meta.priority.map((_, at) => at).sort((a, b) => names.meta.priority[b] - names.meta.priority[a]);
    for (const at of order) {
      const { point, box: own } = bars[at];
      const text = new DOMParser().parseFromString(names.text[at], "text/html").body.textContent;
      const width = pen.measureText(text).width + 4;
      const free = (side, others) => {
        const box = boxAt(side, point, width, 16);
        const inside = box.x >= 0 && box.y >= 0 && box.x + box.w <= xaxis._length && box.y + box.h <= yaxis._length;
        return inside && !others.some((other) => overlaps(box, other));
      };
      const side = sides.find((one) => free(one, [...taken, ...front, ...bars.map(({ box }) => box)]))
        ?? sides.find((one) => free(one, [...taken, ...front, own])) ?? sides.find((one) => free(one, [...taken, own]));
      if (!side) continue;
      taken.push(boxAt(side, point, width, 16));
      found[at] = { text: names.text[at], side };
    }
    return Plotly.restyle(plot, { text: [found.map(({ text }) => text)], textposition: [found.map(({ side }) => side)] }, [place]);
  }

  async function draw(plot, paper) {
    const figure = figures[plot.dataset.figure];
    const width = paper ?? Math.floor(plot.clientWidth);
    if (!width) return;
    await Plotly.react(plot, tracesOf(figure), { ...layoutOf(figure, width), width }, config);
    await placeNames(plot);
    plot.dataset.drawn = width;
  }

  let round = 0;
  /** Draw all, giving the reader a turn after each; a later call takes over from an earlier one. */
  async function drawAll() {
    const mine = ++round;
    root.dataset.charts = "drawing";
    for (const plot of plots) {
      await draw(plot);
      await new Promise((go) => setTimeout(go));
      if (mine !== round) return;
    }
    root.dataset.charts = "drawn";
  }

  let waiting;
  function drawSoon() { clearTimeout(waiting); waiting = setTimeout(drawAll, 120); }

  const button = document.getElementById("scheme");
  const names = { "": "automatic", light: "light", dark: "dark" };
  function remember(value) { try { localStorage.setItem("workbench-scheme", value); } catch { /* a file may have no storage */ } }
  function remembered() { try { return localStorage.getItem("workbench-scheme") ?? ""; } catch { return ""; } }
  function wear(scheme) {
    if (scheme) root.dataset.scheme = scheme; else delete root.dataset.scheme;
    button.textContent = `Colours: ${names[scheme]}`;
  }
  button.hidden = false;
  wear(names[remembered()] ? remembered() : "");
  button.addEventListener("click", () => {
    const order = Object.keys(names);
    const next = order[(order.indexOf(root.dataset.scheme ?? "") + 1) % order.length];
    wear(next);
    remember(next);
    drawSoon();
  });

  for (const choice of document.querySelectorAll(".filter select")) {
    choice.closest(".filter").hidden = false;
    choice.addEventListener("change", () => {
      const box = choice.closest(".filter").nextElementSibling;
      for (const answer of box.querySelectorAll(".sides")) {
        answer.hidden = choice.value !== "" && !JSON.parse(answer.dataset.recipes).includes(choice.value);
      }
      for (const question of box.querySelectorAll(".question")) {
        question.hidden = question.querySelector(".sides:not([hidden])") === null;
      }
    });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawSoon(); } });
  const PAPER = 660; // CSS pixels between the margins of A4 and Letter; the event comes before the page is laid out for them
  let worn = "";
  addEventListener("beforeprint", () => { worn = root.dataset.scheme ?? ""; root.dataset.scheme = "light"; for (const plot of plots) draw(plot, PAPER); });
  addEventListener("afterprint", () => { wear(worn); drawSoon(); });
  drawAll();
})();
