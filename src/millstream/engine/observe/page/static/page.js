// The page in a browser: charts, news by server-sent events, tables that page without a
// reload. Without it the page still shows all numbers and tables, as they were.
"use strict";

const body = document.body;
const byId = (id) => document.getElementById(id);

// Times.

const UNITS = [["ms", 1], ["sec", 1000], ["min", 60000], ["hours", 3600000]];

/** Return the largest unit in which `most` ms are less than the next one: [name, ms]. */
function unitFor(most) {
  if (most < 1000) return UNITS[0];
  if (most < 60000) return UNITS[1];
  return most < 3600000 ? UNITS[2] : UNITS[3];
}

const short = (value) =>
  value == null ? "-"
  : Math.abs(value) >= 1e6 ? (value / 1e6).toFixed(1) + "M"
  : Math.abs(value) >= 1e4 ? (value / 1e3).toFixed(0) + "k"
  : Number.isInteger(value) ? String(value)
  : value.toFixed(Math.abs(value) < 10 ? 2 : 1);

const clockTime = (ms, hasMs) => {
  const text = new Date(ms).toLocaleTimeString([], { hour12: false });
  return hasMs ? text + "." + String(ms % 1000).padStart(3, "0") : text;
};

// What is known of the batches: a list a column, oldest first.

const series = { batchMs: 1000, inputs: [], points: [] };

function takeSeries(message) {
  if (message.series) {
    series.batchMs = message.series.batchMs;
    series.inputs = message.series.inputs;
    series.points = message.series.points;
  }
  for (const point of message.points || []) {
    let at = series.points.length;
    while (at > 0 && series.points[at - 1][0] > point[0]) at--;
    const isKnown = at > 0 && series.points[at - 1][0] === point[0];
    series.points.splice(isKnown ? at - 1 : at, isKnown ? 1 : 0, point);
  }
  if (message.oldest != null) {
    const first = series.points.findIndex((point) => point[0] >= message.oldest);
    series.points.splice(0, Math.max(0, first));
  }
}

const column = (index) => series.points.map((point) => point[index] ?? null);
const totalRates = () =>
  series.points.map((point) => point.slice(5).reduce((sum, rate) => sum + rate, 0));

// Charts.

const CHARTS = [
  { id: "all-stream-records", label: "records/s", values: totalRates },
  { id: "scheduling-delay", values: () => column(1), isTime: true },
  { id: "processing-time", values: () => column(2), isTime: true, hasInterval: true },
  { id: "total-delay", values: () => column(3), isTime: true },
];
const drawn = new Map();
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = () => "11px " + getComputedStyle(body).fontFamily;

function axis(isVertical, values) {
  return {
    stroke: colour("--quiet"), font: font(),
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { stroke: colour("--grid"), width: 1, size: 4 },
    ...(isVertical ? { size: 46 } : { size: 26 }),
    ...(values ? { values } : {}),
  };
}

// Ticks of the time axis, in ms: on seconds, minutes and hours.
const WHOLE_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]
  .map((seconds) => seconds * 1000);

/** Mark the batches that failed, below the line. */
function markFailed(chart) {
  const context = chart.ctx;
  context.save();
  context.fillStyle = colour("--bad");
  const bottom = chart.bbox.top + chart.bbox.height;
  for (const point of series.points) {
    if (!point[4]) continue;
    const x = chart.valToPos(point[0], "x", true);
    if (x < chart.bbox.left || x > chart.bbox.left + chart.bbox.width) continue;
    context.fillRect(x - 2, bottom - 7, 4, 7);
  }
  context.restore();
}

function timelineOptions(element, spec, unit, height) {
  const hasMs = series.batchMs < 1000;
  const lines = [
    { value: (_, ms) => (ms == null ? "-" : clockTime(ms, hasMs)), label: "batch" },
    {
      label: unit, stroke: colour("--line"), fill: colour("--fill"), width: 1.5,
      value: (_, value) => short(value), points: { show: series.points.length < 40, size: 4 },
    },
  ];
  if (spec.hasInterval) {
    lines.push({
      label: "batch interval", stroke: colour("--limit"), dash: [6, 4], width: 1.2,
      value: (_, value) => short(value), points: { show: false },
    });
  }
  return {
    width: element.clientWidth || 300, height, ms: 1, series: lines,
    scales: { x: { time: true }, y: { range: (_, least, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [
      { ...axis(false, (_, splits) => splits.map((ms) => clockTime(ms, false))), space: 76, incrs: WHOLE_SECONDS },
      axis(true, (_, splits) => splits.map(short)),
    ],
    cursor: { sync: { key: "batches" }, drag: { x: false, y: false } },
    legend: { show: !spec.isSmall, live: true },
    hooks: {
      draw: [markFailed],
      ready: [(chart) => {
        chart.over.title = "Click for the batch";
        chart.over.addEventListener("click", () => {
          const index = chart.cursor.idx;
          if (index != null) location.href = "/streaming/batch/?id=" + chart.data[0][index];
        });
      }],
    },
  };
}

const BINS = 12;

/** Return [middles, counts, width of a bin] of the values that are known. */
function binned(values) {
  const known = values.filter((value) => value != null);
  const most = known.reduce((max, value) => Math.max(max, value), 0);
  const width = (most || 1) / BINS;
  const counts = new Array(BINS).fill(0);
  for (const value of known) counts[Math.min(BINS - 1, Math.floor(value / width))]++;
  return [counts.map((_, index) => (index + 0.5) * width), counts, width];
}

function histogramOptions(element, unit, width, height) {
  return {
    width: element.clientWidth || 200, height,
    scales: {
      x: { time: false, range: [0, width * BINS] },
      y: { range: (_, least, most) => [0, Math.max(1, most * 1.08)] },
    },
    series: [
      { label: unit, value: (_, value) =>
        value == null ? "-" : short(value - width / 2) + " to " + short(value + width / 2) },
      {
        label: "batches", stroke: colour("--bar"), fill: colour("--bar"), width: 0,
        paths: uPlot.paths.bars({ size: [0.9, 60] }), points: { show: false },
      },
    ],
    axes: [axis(false, (_, splits) => splits.map(short)), axis(true, (_, splits) => splits.map((value) => (Number.isInteger(value) ? short(value) : "")))],
    cursor: { drag: { x: false, y: false }, y: false },
    legend: { show: true, live: true },
  };
}

/** Draw a chart, anew if what it depends on has changed, else only its data. */
function show(id, key, data, makeOptions) {
  const element = byId(id);
  if (!element || !element.clientWidth) return;
  const known = drawn.get(id);
  if (known && known.key === key && known.element === element) {
    known.chart.setData(data);
    return;
  }
  if (known) known.chart.destroy();
  element.replaceChildren();
  drawn.set(id, { chart: new uPlot(makeOptions(element), data, element), key, element });
}

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function tellSpread(id, values, unit) {
  const element = byId(id + "-spread");
  const sorted = values.filter((value) => value != null).sort((a, b) => a - b);
  if (!element || !sorted.length) return;
  setText(element, `median ${short(percentile(sorted, 0.5))}, 95 %: ${short(percentile(sorted, 0.95))}, ` +
    `most ${short(sorted[sorted.length - 1])} ${unit}`);
}

/** Return [unit, values in it] for a chart whose largest value is `most`. */
function inUnit(spec, raw, most) {
  const [unit, size] = spec.isTime ? unitFor(most) : ["records/s", 1];
  return [unit, size === 1 ? raw : raw.map((value) => (value == null ? null : value / size))];
}

function drawCharts() {
  if (!series.points.length || document.hidden) return;
  const times = column(0);
  for (const spec of CHARTS) {
    const raw = spec.values();
    const most = raw.reduce((max, value) => Math.max(max, value ?? 0), 0);
    const isFew = series.points.length < 40;
    // The line of the interval may need a larger unit than what is below it.
    const [unit, values] = inUnit(spec, raw, spec.hasInterval ? Math.max(most, series.batchMs) : most);
    const data = [times, values];
    if (spec.hasInterval) data.push(times.map(() => series.batchMs / unitFor(Math.max(most, series.batchMs))[1]));
    show(spec.id + "-timeline", unit + isFew, data, (element) => timelineOptions(element, spec, unit, 110));
    const [ownUnit, own] = inUnit(spec, raw, most);
    const [middles, counts, width] = binned(own);
    show(spec.id + "-histogram", ownUnit + width, [middles, counts], (element) => histogramOptions(element, ownUnit, width, 110));
    tellSpread(spec.id, own, ownUnit);
  }
  const isFew = series.points.length < 40;
  series.inputs.forEach((input, index) => {
    show(`stream-${input}-records-timeline`, "records" + isFew, [times, column(5 + index)],
      (element) => timelineOptions(element, { isSmall: true }, "records/s", 80));
  });
}

function redrawCharts() {
  for (const { chart } of drawn.values()) chart.destroy();
  drawn.clear();
  drawCharts();
}

// Texts and rows.

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function makeCell(cell, heading) {
  const td = document.createElement("td");
  td.className = cell.kind || (heading ? heading.className : "");
  if (cell.link) {
    const link = document.createElement("a");
    link.href = cell.link;
    link.textContent = cell.text || "";
    td.append(link);
  } else if (cell.details) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = cell.text || "";
    const text = document.createElement("pre");
    text.textContent = cell.details;
    details.append(summary, text);
    td.append(details);
  } else {
    td.textContent = cell.text || "";
  }
  return td;
}

function makeRow(cells, headings) {
  const row = document.createElement("tr");
  row.append(...cells.map((cell, index) => makeCell(cell, headings[index])));
  return row;
}

/** Return the batch's time that a row's link names. */
function keyOf(row) {
  const link = row.querySelector("a[href*='id=']");
  return link ? Number(new URL(link.href).searchParams.get("id")) : -1;
}

function takeTable(id, news) {
  const section = byId(id);
  if (!section) return;
  section.hidden = news.count === 0;
  setText(section.querySelector("h2"), news.title);
  if (section.dataset.live !== "true") return;
  section.classList.toggle("without-errors", !news.hasFailed);
  const rows = section.querySelector("tbody");
  const headings = [...section.querySelectorAll("thead th")];
  if (news.rows) {
    rows.replaceChildren(...news.rows.map(({ cells }) => makeRow(cells, headings)));
    return;
  }
  const known = new Set([...rows.children].map(keyOf));
  for (const { key, cells } of [...news.new].reverse()) {
    if (known.has(key)) continue;
    const row = makeRow(cells, headings);
    row.className = "new";
    const next = [...rows.children].find((each) => keyOf(each) < key);
    rows.insertBefore(row, next || null);
  }
  while (rows.children.length > news.most) rows.lastElementChild.remove();
}

function takeNews(message) {
  for (const [id, text] of Object.entries(message.texts || {})) {
    const element = byId(id);
    if (element) setText(element, text);
    else if (id.startsWith("tile-") && !id.endsWith("-note")) needsReload = true;
  }
  for (const [id, level] of Object.entries(message.levels || {})) {
    const tile = document.querySelector(`[data-tile="${CSS.escape(id)}"]`);
    if (tile) tile.className = "tile " + level;
  }
  for (const [id, news] of Object.entries(message.tables || {})) takeTable(id, news);
  takeSeries(message);
  drawCharts();
}

// Connection. The browser connects again by itself.

let needsReload = false;

/** Hear news while somebody looks: a browser has few connections for all its tabs. */
function listen(url, onMessage) {
  const sign = byId("connection");
  const tell = (kind, text) => { sign.className = "connection " + kind; setText(sign, text); };
  let source = null;
  const close = () => { if (source) source.close(); source = null; };
  const open = () => {
    close();
    source = new EventSource(url);
    source.onopen = () => tell("on", "live");
    source.onerror = () => tell("off", "not connected: the program has ended, or is busy");
    source.onmessage = (event) => {
      onMessage(event.data);
      // What is over has one thing to say: all.
      if (body.dataset.over === "true") { close(); tell("", "ended"); }
    };
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      tell("", "paused");
    } else {
      open();
    }
  });
  open();
}

/** Put the part `selector` of another address's page in place of this one's. */
async function replacePart(selector, url) {
  const answer = await fetch(url);
  if (!answer.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [here, there] = [document.querySelector(selector), page.querySelector(selector)];
  if (!here || !there) return false;
  // What somebody has unfolded or is reading stays as it is.
  const open = new Set([...here.querySelectorAll("details[open] > summary")].map((each) => each.textContent));
  for (const summary of there.querySelectorAll("details > summary")) {
    if (open.has(summary.textContent)) summary.parentElement.open = true;
  }
  const focused = here.contains(document.activeElement) ? document.activeElement : null;
  const [text, link, isHeading] = focused
    ? [focused.textContent, focused.getAttribute("href"), focused.matches(".sort")] : [null, null, false];
  here.replaceWith(there);
  if (focused) {
    const same = [...there.querySelectorAll("a, summary, [tabindex]")].find((each) =>
      link && !isHeading && each.matches("a") ? each.textContent === text : each.textContent === text);
    (same || there.querySelector("a") || document.body).focus();
  }
  return true;
}

// Paging and sorting: the part alone is loaded, and the address tells where one is.
document.addEventListener("click", async (event) => {
  const link = event.target.closest(".sort, .pages a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const section = link.closest("section");
  try {
    if (await replacePart("#" + CSS.escape(section.id), link.href)) {
      history.replaceState(null, "", link.href);
      // Other tables' links must not forget what is chosen here.
      return;
    }
  } catch (error) {
    console.warn(error);
  }
  location.href = link.href;
});

let isLoading = false;

async function reloadLive() {
  if (isLoading || document.hidden) return;
  isLoading = true;
  try {
    await replacePart("#live", location.href);
  } catch (error) {
    console.warn(error);  // The program has ended: the sign at the top says so.
  } finally {
    isLoading = false;
  }
}

function whenResized() {
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redrawCharts, 150);
  });
}

if (body.dataset.page === "streaming") {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawCharts);
  whenResized();
  const inputs = byId("inputs");
  if (inputs) inputs.addEventListener("toggle", drawCharts);
  listen("/streaming/news", (text) => {
    takeNews(JSON.parse(text));
    if (needsReload) { needsReload = false; location.reload(); }
  });
} else if (body.dataset.page === "listed" && body.dataset.over !== "true") {
  listen("/news?since=" + body.dataset.version, reloadLive);
}
