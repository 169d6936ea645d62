// The console's page: draws the newest View (contract/record.py) and nothing of its own.
// In: /feed, four views a second or more. Out: the screen. Times are the record's; the clock runs on between views.

import { drawChart } from "./chart.js";

const byId = (id) => document.getElementById(id);
const REGIONS = { europe: "Europe", us_east: "US East", us_west: "US West", asia: "Asia" };
const LOUD = new Set(["push", "decision", "rollback", "reverted", "recovered", "stuck", "kill_switch", "run_end"]);
// No view for this long, and what is on screen is no longer the present.
const LOST_AFTER_MS = 2500;
// At most so far (seconds of the record) does the clock run on by itself.
const RUN_ON_S = 1.0;

let view = null;
let receivedMs = 0;
let firstVersion = null;
const tiles = new Map();

// ---- Words and numbers ----

function clockText(seconds) {
  const tenths = Math.max(0, Math.floor(seconds * 10 + 1e-6));
  const minutes = String(Math.floor(tenths / 600)).padStart(2, "0");
  const rest = String(Math.floor((tenths % 600) / 10)).padStart(2, "0");
  return `${minutes}:${rest}.${tenths % 10}`;
}

function sinceText(seconds) {
  return `${seconds < 0 ? "−" : "+"}${Math.abs(seconds).toFixed(1)} s`;
}

const whole = (n) => String(Math.round(n));
const ms = (n) => (n === null ? "–" : n < 9.95 ? `${n.toFixed(1)} ms` : n < 1000 ? `${whole(n)} ms` : `${(n / 1000).toFixed(1)} s`);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---- Status ----

function drawStatus() {
  const word = byId("word");
  if (document.body.dataset.status !== view.status || word.textContent !== view.status) {
    document.body.dataset.status = view.status;
    word.textContent = view.status;
    byId("glyph").setAttribute("href", `#g-${view.status.replace(" ", "-")}`);
    fitWord();
  }
  setText(byId("sentence"), view.sentence);
  setText(byId("title"), [view.title, view.drill].filter((text, i, all) => text && all.indexOf(text) === i).join(" · "));
  document.title = `${view.status} · badgateway`;
  setText(byId("report"), view.ended && view.report ? `Report: ${view.report}` : "");
  drawMode();
}

function drawMode() {
  const replay = view.replay_speed !== null;
  const speed = view.replay_speed;
  setText(byId("mode"), replay ? (speed ? `REPLAY ${speed}×` : "REPLAY paused") : view.ended ? "RUN OVER" : "LIVE");
  byId("mode").classList.toggle("replay", replay);
  byId("controls").hidden = !replay;
  for (const button of document.querySelectorAll("[data-speed]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.speed) === speed));
  }
}

function fitWord() {
  // The longest word must fit beside the clock in whatever font the machine has.
  const word = byId("word");
  word.style.fontSize = "";
  const room = word.parentElement.clientWidth;
  if (word.offsetWidth > room) {
    const size = parseFloat(getComputedStyle(word).fontSize);
    word.style.fontSize = `${Math.floor((size * room) / word.offsetWidth)}px`;
  }
}

function drawClock() {
  const waiting = view === null || view.t_plus === null;
  byId("clock-box").classList.toggle("waiting", waiting);
  setText(byId("clock-label"), waiting ? "nothing pushed yet" : "since the push");
  if (waiting) return setText(byId("clock"), "T+ 00:00.0");
  const speed = view.replay_speed ?? 1;
  const onBy = view.ended ? 0 : Math.min(((performance.now() - receivedMs) / 1000) * speed, RUN_ON_S * Math.max(speed, 1));
  setText(byId("clock"), `T+ ${clockText(view.t_plus + onBy)}`);
}

// ---- Fleet ----

function makeTile(tile) {
  const box = document.createElement("article");
  box.className = "tile";
  box.dataset.testid = `tile-${tile.node}`;
  box.innerHTML = `
    <div class="tile-head"><span class="tile-name"><i></i><span></span></span><span class="tile-version"></span></div>
    <div><div class="tile-cpu"><b></b><span>CPU quota</span></div><div class="bar"><i></i></div></div>
    <div class="tile-rates"><span class="tile-ok"><b></b> ok/s</span><span class="tile-bad"><b></b> 502/s</span></div>
    <div class="tile-note"></div>`;
  box.querySelector(".tile-name span").textContent = tile.node;
  popOf(tile).append(box);
  return box;
}

function popOf(tile) {
  const id = `pop-${tile.pop}`;
  let pop = byId(id);
  if (!pop) {
    pop = document.createElement("div");
    pop.className = "pop";
    pop.id = id;
    const head = document.createElement("h2");
    const place = document.createElement("small");
    place.textContent = tile.pop;
    head.append(REGIONS[tile.region] ?? tile.region, place);
    pop.append(head);
    byId("fleet").append(pop);
  }
  return pop;
}

function noteOf(tile) {
  if (tile.hot_rule && tile.state !== "silent") return tile.hot_rule;
  return { ok: "ok", bad: "failing", silent: "silent", unprotected: "no inspection" }[tile.state];
}

function drawTile(tile) {
  if (!tiles.has(tile.node)) tiles.set(tile.node, makeTile(tile));
  const box = tiles.get(tile.node);
  const part = (name) => box.querySelector(name);
  firstVersion ??= tile.version || null;
  box.dataset.state = tile.state;
  setText(part(".tile-name i"), { bad: "▲", silent: "○", unprotected: "◇" }[tile.state] ?? "");
  setText(part(".tile-version"), tile.version || "–");
  part(".tile-version").classList.toggle("changed", Boolean(tile.version) && tile.version !== firstVersion);
  const cpu = tile.cpu_of_quota;
  setText(part(".tile-cpu b"), cpu === null ? "–" : `${whole(cpu * 100)} %`);
  part(".bar i").style.width = `${Math.min(100, (cpu ?? 0) * 100)}%`;
  part(".bar").classList.toggle("full", (cpu ?? 0) >= 0.85);
  setText(part(".tile-ok b"), whole(tile.ok_per_s));
  setText(part(".tile-bad b"), whole(tile.bad_per_s));
  setText(part(".tile-note"), noteOf(tile));
  part(".tile-note").classList.toggle("rule", Boolean(tile.hot_rule));
  part(".tile-note").title = tile.hot_rule ? `in evaluation for ${tile.hot_rule_held_s.toFixed(1)} s` : "";
}

function drawFleet() {
  // Another run may have other nodes, or have begun with another version.
  const names = view.tiles.map((tile) => tile.node).join();
  if (names !== [...tiles.keys()].join()) {
    tiles.clear();
    byId("fleet").replaceChildren();
  }
  if (view.t_plus === null && !view.tiles.some((tile) => tile.version === firstVersion)) firstVersion = null;
  view.tiles.forEach(drawTile);
}

// ---- Log and strip ----

function drawLog() {
  const pushT = view.t_plus === null ? null : view.t - view.t_plus;
  const items = [...view.log].reverse().slice(0, 10).map((mark) => {
    const item = document.createElement("li");
    item.className = LOUD.has(mark.kind) ? "loud" : "";
    const time = document.createElement("time");
    time.textContent = pushT === null ? clockText(mark.t) : sinceText(mark.t - pushT);
    const text = document.createElement("span");
    text.textContent = mark.text.replaceAll(" %", "\u00a0%");
    item.append(time, text);
    return item;
  });
  const list = byId("log");
  list.replaceChildren(...items);
  // Whole entries only: half a line at the edge reads like a fault.
  while (list.scrollHeight > list.clientHeight && list.lastChild) list.lastChild.remove();
}

function drawCell(id, state, big, small) {
  const cell = byId(id);
  cell.classList.toggle("good", state === true);
  cell.classList.toggle("poor", state === false);
  setText(cell.querySelector("b"), big);
  setText(cell.querySelector("small"), small);
}

function drawStrip() {
  const { origins_up: up, origin_errors: errors, probe_status: status } = view;
  const originState = up === null ? null : up && errors === 0;
  drawCell("origins", originState, up === null ? "–" : !up ? "silent" : errors ? `${errors} errors` : "healthy",
    up ? `${whole(view.origin_requests_per_s)}/s, ${ms(view.origin_ms)}` : "");
  drawCell("probe", status === null ? null : status > 0 && status < 500, status === null ? "–" : status ? String(status) : "no answer",
    status ? `in ${ms(view.probe_ms)}` : "");
  drawCell("deployer", view.deployer_up, view.deployer_up === null ? "–" : view.deployer_up ? "answers" : "silent", "");
  drawCell("latency", null, ms(view.latency_ms_p99), "");
  drawCell("traffic", null, `${whole(view.intended_per_s || view.ok_per_s + view.bad_per_s)}/s`,
    `${whole(view.ok_per_s)} served, ${whole(view.bad_per_s)} failed`);
}

// ---- Everything ----

function draw() {
  drawStatus();
  drawClock();
  drawChart(byId("chart"), view);
  drawFleet();
  drawLog();
  drawStrip();
}

function everyFrame() {
  if (view) {
    drawClock();
    showLost(performance.now() - receivedMs > LOST_AFTER_MS);
  }
  requestAnimationFrame(everyFrame);
}

function showLost(lost) {
  document.body.classList.toggle("is-lost", lost);
  byId("lost").hidden = !lost;
}

function listen() {
  const feed = new EventSource("/feed");
  feed.onmessage = (message) => {
    view = JSON.parse(message.data);
    receivedMs = performance.now();
    showLost(false);
    draw();
  };
  feed.onerror = () => {
    // A refused stream is not tried again by the browser; a lost one is.
    if (feed.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
    if (!view) showLost(true);
  };
}

function command(body) {
  return fetch("/api/v1/replay", { method: "POST", body: JSON.stringify(body) });
}

let speedBefore = 1;
function pauseOrGoOn() {
  if (view.replay_speed) speedBefore = view.replay_speed;
  command({ speed: view.replay_speed ? 0 : speedBefore });
}

byId("controls").addEventListener("click", ({ target }) => {
  if (target.dataset.t !== undefined) command({ t: Number(target.dataset.t), speed: view.replay_speed || speedBefore });
  else if (target.dataset.speed === "0") pauseOrGoOn();
  else if (target.dataset.speed) command({ speed: Number(target.dataset.speed) });
});
addEventListener("keydown", (event) => {
  if (!view || view.replay_speed === null || event.target.tagName === "BUTTON") return;
  if (event.key === " ") pauseOrGoOn();
  if (event.key === "r" || event.key === "R") command({ t: 0 });
});
addEventListener("resize", () => view && (fitWord(), draw()));
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => view && draw());

listen();
requestAnimationFrame(everyFrame);
