// The outcome chart: one column a second, stacked by what became of the requests, under the line that was intended.

const NAMES = {
  traffic_start: "traffic", push: "PUSH", page: "page", decision: "decision", rollback: "ROLLBACK", reverted: "reverted",
  recovered: "RECOVERED", stuck: "STUCK", promoted: "promoted", kill_switch: "kill switch", node_down: "node down",
};
const SHORTEST_S = 60;
const LABEL_ROWS = 2;
// A column above this multiple of the intended rate is cut.
const CUT_ABOVE = 1.25;

let topPerS = 0;

export function drawChart(canvas, view) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const plot = layout(canvas, view, width, height);
  grid(context, plot);
  columns(context, plot, view.seconds);
  intended(context, plot, view.seconds);
  marks(context, plot, view.marks);
}

function layout(canvas, view, width, height) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const shown = view.seconds.length;
  const from = shown ? view.seconds[0].t : 0;
  const span = Math.max(SHORTEST_S, shown);
  const left = 2.6 * rem, right = width - 0.4 * rem, top = 2.5 * rem, bottom = height - 1.4 * rem;
  const perS = highest(view.seconds);
  return {
    rem, colour, from, span, left, right, top, bottom, perS,
    font: `${0.88 * rem}px ${style.fontFamily}`,
    bold: `700 ${0.88 * rem}px ${style.fontFamily}`,
    pushT: view.t_plus === null ? null : view.t - view.t_plus,
    x: (t) => left + ((t - from) / span) * (right - left),
    y: (n) => bottom - (Math.min(n, perS) / perS) * (bottom - top),
  };
}

function highest(seconds) {
  // What was held back and then let go at once would press the rest flat; such a column is cut, with its number.
  const intended = Math.max(0, ...seconds.map((s) => s.intended));
  const most = Math.max(10, ...seconds.map(total));
  const wanted = Math.max(10, intended ? Math.min(Math.max(most, intended), intended * CUT_ABOVE) : most) * 1.06;
  // The scale grows at once and shrinks only when far too large, so that the picture does not breathe.
  if (wanted > topPerS || wanted < topPerS / 1.6) topPerS = wanted;
  return topPerS;
}

function total(second) {
  return second.ok + second.bad_gateway + second.other + second.unsent;
}

function steps(perS) {
  const step = [5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000].find((n) => perS / n < 5) ?? 10000;
  return Array.from({ length: Math.floor(perS / step) + 1 }, (_, i) => i * step);
}

function grid(context, plot) {
  context.font = plot.font;
  context.lineWidth = 1;
  context.fillStyle = plot.colour("muted");
  context.strokeStyle = plot.colour("line");
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const perS of steps(plot.perS)) {
    const y = Math.round(plot.y(perS)) + 0.5;
    line(context, plot.left, y, plot.right, y);
    context.fillText(String(perS), plot.left - 0.5 * plot.rem, y);
  }
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  const zero = plot.pushT ?? 0, every = plot.span > 80 ? 20 : 10;
  for (let n = Math.ceil((plot.from - zero) / every); zero + n * every <= plot.from + plot.span; n++) {
    const seconds = n * every;
    const text = plot.pushT === null ? `${seconds} s` : seconds === 0 ? "T" : `${seconds < 0 ? "−" : "+"}${Math.abs(seconds)} s`;
    const x = plot.x(zero + seconds);
    if (x > plot.left + plot.rem && x < plot.right - plot.rem) context.fillText(text, x, plot.bottom + 1.15 * plot.rem);
  }
}

function columns(context, plot, seconds) {
  const gap = Math.max(1, (plot.right - plot.left) / plot.span / 7);
  const hatched = hatch(context, plot.colour("other"), plot.rem);
  for (const second of seconds) {
    const x = plot.x(second.t), width = plot.x(second.t + 1) - x - gap;
    // A column that is cut keeps its proportions.
    const fit = Math.min(1, plot.perS / total(second));
    let below = 0;
    const piece = (count, paint) => {
      if (!count) return;
      const n = count * fit;
      const y = plot.y(below + n), tall = plot.y(below) - y;
      below += n;
      paint(x, y, width, tall);
    };
    const fill = (style) => (...box) => { context.fillStyle = style; context.fillRect(...box); };
    piece(second.ok, fill(plot.colour("ok")));
    piece(second.bad_gateway, fill(plot.colour("bad")));
    piece(second.other, fill(hatched));
    piece(second.unsent, (bx, by, bw, bh) => {
      context.strokeStyle = plot.colour("muted");
      context.setLineDash([2, 2]);
      context.strokeRect(bx + 0.5, by + 0.5, bw - 1, Math.max(0, bh - 1));
      context.setLineDash([]);
    });
    if (total(second) > plot.perS) cut(context, plot, x + width, total(second));
  }
}

function cut(context, plot, x, perS) {
  context.font = plot.font;
  context.fillStyle = plot.colour("ink");
  context.textAlign = "left";
  context.textBaseline = "top";
  context.fillText(`↑ ${perS}`, x + plot.rem / 5, plot.top);
}

function hatch(context, colour, rem) {
  const tile = document.createElement("canvas"), size = Math.max(4, Math.round(rem / 3));
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = size / 2.4;
  pen.lineCap = "square";
  for (const shift of [-size, 0, size]) line(pen, shift, size, shift + size, 0);
  return context.createPattern(tile, "repeat");
}

function intended(context, plot, seconds) {
  context.strokeStyle = plot.colour("ink");
  context.lineWidth = Math.max(1.5, plot.rem / 9);
  context.setLineDash([plot.rem / 3, plot.rem / 4]);
  context.beginPath();
  let drawing = false;
  for (const second of seconds) {
    if (!second.intended) { drawing = false; continue; }
    const x = plot.x(second.t + 0.5), y = plot.y(second.intended);
    if (drawing) context.lineTo(x, y); else context.moveTo(x, y);
    drawing = true;
  }
  context.stroke();
  context.setLineDash([]);
}

function marks(context, plot, all) {
  // Moments closer than a pen's width share one line and one label.
  const together = [];
  for (const mark of all.filter((m) => m.t >= plot.from && m.t <= plot.from + plot.span)) {
    const last = together.at(-1), x = plot.x(mark.t), name = NAMES[mark.kind] ?? mark.kind;
    if (last && x - last.x < plot.rem / 2) { if (!last.names.includes(name)) last.names.push(name); }
    else together.push({ x, names: [name] });
  }
  const rowEnds = new Array(LABEL_ROWS).fill(-Infinity);
  for (const { x, names } of together) flag(context, plot, x, names.join(" · "), rowEnds);
}

function flag(context, plot, x, text, rowEnds) {
  context.font = text === text.toLowerCase() ? plot.font : plot.bold;
  const wide = context.measureText(text).width, room = plot.rem * 0.6;
  const start = Math.min(x, plot.right - wide);
  const free = rowEnds.findIndex((end) => end < start);
  // Where no row is free the line stands without a label; the log says what it was.
  const y = (free < 0 ? LABEL_ROWS : free) * 1.15 * plot.rem;
  context.strokeStyle = plot.colour("ink");
  context.lineWidth = 1.5;
  line(context, x, y + 0.95 * plot.rem + 2, x, plot.bottom);
  if (free < 0) return;
  rowEnds[free] = start + wide + room;
  context.fillStyle = plot.colour("ink");
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillText(text, start, y + 0.9 * plot.rem);
}

function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
