// The page of `sscl-geo view`: one or two maps, what lies beneath them, and what they say.
import * as maplibre from "./maplibre/maplibre-gl.mjs";

const THEMES = { landcover: "Land cover", confidence: "Confidence" };
const DEEPEST = 18; // of tiles; farther in, their pixels grow

const byId = (id) => document.getElementById(id);
const state = { theme: "landcover", ground: "none", period: "", opacity: 1, isComparing: false, split: 0.5 };
let facts;
let left; // MapLibre's map of the first map
let right; // and of the second, once it is wanted
const maps = []; // those of the two that can be drawn on
let popup;
let asked = 0;

function hectares(value, total) {
  const digits = total < 100 ? 2 : total < 10000 ? 1 : 0;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

function element(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function swatch(color) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.background = color;
  return made;
}

async function answer(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

// --- maps ---------------------------------------------------------------------------------------

function source(layer) {
  const [west, south, east, north] = facts.box;
  const around = layer.id.startsWith("imagery") || west > east ? {} : { bounds: [west, south, east, north] };
  return {
    type: "raster",
    tiles: [`${location.origin}/tiles/${layer.id}/{z}/{x}/{y}.png?v=${layer.version}`],
    tileSize: 256,
    minzoom: layer.least_zoom,
    maxzoom: Math.max(DEEPEST, layer.least_zoom),
    ...around,
  };
}

function raster(layer, opacity) {
  const paint = { "raster-resampling": "nearest", "raster-fade-duration": 0, "raster-opacity": opacity };
  return { id: layer.id, type: "raster", source: layer.id, paint };
}

function imagery() {
  return facts.imagery.find(({ name, period }) => name === state.ground && period === state.period);
}

function theme(number) {
  return facts.maps[number].layers[state.theme];
}

const EMPTY = {
  version: 8,
  sources: {},
  layers: [{ id: "paper", type: "background", paint: { "background-color": "#e6e4dd" } }],
};

function draw(map, number) {
  const wanted = [[imagery(), 1], [theme(number), state.opacity]].filter(([layer]) => layer);
  const names = new Set(wanted.map(([layer]) => layer.id));
  for (const name of map.getLayersOrder()) {
    if (name === "paper" || names.has(name)) continue;
    map.removeLayer(name);
    map.removeSource(name);
  }
  for (const [layer, opacity] of wanted) {
    if (map.getLayer(layer.id)) {
      map.setPaintProperty(layer.id, "raster-opacity", opacity);
      map.moveLayer(layer.id);
    } else {
      map.addSource(layer.id, source(layer));
      map.addLayer(raster(layer, opacity));
    }
  }
}

function newMap(container, number, camera) {
  const made = new maplibre.Map({
    container,
    style: EMPTY,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    maxPitch: 0,
    maxZoom: 19,
    hash: number === 0,
    ...camera,
  });
  made.touchZoomRotate.disableRotation();
  made.keyboard.disableRotation();
  made.getCanvas().setAttribute("aria-label", `Map ${facts.maps[number].name}; arrows move it, Enter tells its values in the middle`);
  made.on("click", (event) => tell(event.lngLat));
  made.getCanvas().addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    // Else the key would also press the button that the values come with.
    event.preventDefault();
    tell(made.getCenter());
  });
  made.once("style.load", () => {
    maps[number] = made;
    draw(made, number);
  });
  return made;
}

function firstCamera() {
  const [west, south, east, north] = facts.box;
  return { bounds: [[west, south], [east < west ? east + 360 : east, north]], fitBoundsOptions: { padding: 24 } };
}

function follow(leader, follower) {
  leader.on("move", () => {
    const there = follower.getCenter();
    const here = leader.getCenter();
    if (here.lng === there.lng && here.lat === there.lat && leader.getZoom() === follower.getZoom()) return;
    follower.jumpTo({ center: here, zoom: leader.getZoom() });
  });
}

function redraw() {
  maps.forEach(draw);
  byId("ramp").hidden = state.theme !== "confidence";
  byId("opacity-row").hidden = state.theme === "none";
  byId("opacity-told").textContent = percent(state.opacity);
  hint();
}

function hint() {
  const zoom = Math.round(left.getZoom() + 1); // of tiles of 256 pixels
  const far = [[state.ground.toLowerCase(), imagery()], [THEMES[state.theme]?.toLowerCase(), theme(0)]].filter(
    ([, layer]) => layer && zoom < layer.least_zoom,
  );
  byId("hint").hidden = far.length === 0;
  byId("hint").textContent = far.length ? `Zoom in to see ${far.map(([name]) => name).join(" and ")}` : "";
}

// --- two maps side by side ----------------------------------------------------------------------

function compare() {
  for (const id of ["right", "divider", "left-name", "right-name"]) byId(id).hidden = !state.isComparing;
  popup?.remove();
  if (state.isComparing) {
    const camera = { center: left.getCenter(), zoom: left.getZoom() };
    if (!right) {
      right = newMap(byId("right"), 1, camera);
      follow(left, right);
      follow(right, left);
    }
    right.resize();
    right.jumpTo(camera);
    split();
  }
}

function split() {
  const share = percent(state.split, 2).replace(" ", "");
  byId("divider").style.left = share;
  byId("divider").setAttribute("aria-valuenow", Math.round(100 * state.split));
  // Only its pictures are cut off, not what is told over them.
  right.getCanvas().style.clipPath = `inset(0 0 0 ${share})`;
}

function moveSplit(share) {
  state.split = Math.min(1, Math.max(0, share));
  split();
}

function listenToDivider() {
  const divider = byId("divider");
  const drag = (event) => {
    const { left, width } = byId("stage").getBoundingClientRect();
    moveSplit((event.clientX - left) / width);
  };
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    divider.addEventListener("pointermove", drag);
  });
  divider.addEventListener("pointerup", () => divider.removeEventListener("pointermove", drag));
  divider.addEventListener("pointercancel", () => divider.removeEventListener("pointermove", drag));
  divider.addEventListener("wheel", (event) => {
    event.preventDefault();
    left.getCanvas().dispatchEvent(new WheelEvent("wheel", event));
  });
  divider.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: state.split - 0.02, ArrowRight: state.split + 0.02, Home: 0, End: 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    moveSplit(moves[event.key]);
  });
}

// --- what a place is ----------------------------------------------------------------------------

async function tell(place) {
  const { lng, lat } = place.wrap();
  const top = state.isComparing ? right : left;
  popup?.remove();
  const content = element("div", { text: "Reading…" });
  const mine = new maplibre.Popup({ maxWidth: "300px", closeOnClick: false });
  popup = mine.setLngLat(place).setDOMContent(content).addTo(top);
  try {
    content.replaceChildren(told(await answer(`place?longitude=${lng}&latitude=${lat}`)));
  } catch (error) {
    content.textContent = error.message;
  }
  if (!mine.isOpen()) return;
  mine.setLngLat(place); // it has another size now
  showWhole(mine.getElement());
}

function showWhole(shown) {
  const inner = shown.getBoundingClientRect();
  const outer = byId("stage").getBoundingClientRect();
  const over = (low, high, first, last) => Math.max(0, high - last + 8) - Math.max(0, first - low + 8);
  const across = over(inner.left, inner.right, outer.left, outer.right);
  const down = over(inner.top, inner.bottom, outer.top, outer.bottom);
  if (across || down) left.panBy([across, down], { duration: 200 });
}

function told({ longitude, latitude, maps: found }) {
  const parts = found.map((map) => toldOfMap(map, found.length > 1));
  const degrees = `${Math.abs(latitude).toFixed(5)}° ${latitude < 0 ? "S" : "N"}, ${Math.abs(longitude).toFixed(5)}° ${longitude < 0 ? "W" : "E"}`;
  return element("div", { class: "told" }, ...parts, element("p", { class: "soft where", text: degrees }));
}

function toldOfMap(map, isNamed) {
  const part = element("section");
  if (isNamed) part.append(element("h3", { text: map.name }));
  if (!map.class) part.append(element("p", { class: "class", text: "Not mapped" }));
  else part.append(element("p", { class: "class" }, swatch(map.class.color), map.class.name));
  const rows = [];
  if (map.class && map.confidence !== null) rows.push(["Confidence", percent(map.confidence, 1)]);
  if (map.class && map.probabilities.length) {
    const others = map.probabilities.filter(({ name, share }) => name !== map.class.name && share >= 0.005);
    rows.push(...others.slice(0, 4).map(({ name, share }) => [name, percent(share, 1)]));
  } else if (map.second) {
    rows.push(["Second", map.second.name]);
    if (map.margin !== null) rows.push(["Lead over second", percent(map.margin, 1)]);
  }
  rows.push(...Object.entries(map.counts).map(([name, count]) => [`Observations ${name.toUpperCase()}`, String(count)]));
  const list = element("dl");
  for (const [term, value] of rows) list.append(element("dt", { text: term }), element("dd", { text: value }));
  part.append(list);
  return part;
}

// --- areas --------------------------------------------------------------------------------------

function stale(is) {
  byId("tables").classList.toggle("stale", is);
}

function viewBox() {
  const bounds = left.getBounds();
  const [south, north] = [Math.max(bounds.getSouth(), -90), Math.min(bounds.getNorth(), 90)];
  const [west, east] = [bounds.getWest(), bounds.getEast()];
  if (east - west >= 180) return [-180, south, 180, north];
  const wrap = (degrees) => ((((degrees + 180) % 360) + 360) % 360) - 180;
  return [wrap(west), south, wrap(east), north];
}

async function measure() {
  const mine = ++asked;
  await new Promise((resolve) => setTimeout(resolve, 250));
  if (mine !== asked) return;
  const [west, south, east, north] = viewBox();
  let found = null;
  let line = "";
  try {
    found = (await answer(`areas?west=${west}&south=${south}&east=${east}&north=${north}`)).maps;
    const coarsest = Math.max(...found.map(({ gsd }) => gsd));
    const how = found.every(({ is_exact }) => is_exact) ? "every pixel counted" : `about: ${coarsest} m pixels, each of its most frequent class, so rare ones count too little`;
    line = `Area in view, hectares; ${how}`;
  } catch (error) {
    line = error.message;
  }
  if (mine !== asked) return;
  byId("areas-told").textContent = line;
  tables(found);
  stale(false);
  document.body.dataset.measured = String(mine);
}

function tables(found) {
  const [first, second] = facts.maps;
  const isShared = second && JSON.stringify(first.classes) === JSON.stringify(second.classes);
  const groups = isShared ? [[0, 1]] : facts.maps.map((_, number) => [number]);
  byId("tables").replaceChildren(...groups.map((numbers) => table(numbers, found, groups.length > 1)));
}

function table(numbers, found, isNamed) {
  const areas = numbers.map((number) => found?.[number].hectares);
  const sums = areas.map((mine) => (mine ? Object.values(mine).reduce((sum, value) => sum + value, 0) : 0));
  const made = element("table");
  const map = facts.maps[numbers[0]];
  if (isNamed) made.append(element("caption", { text: `${map.name} (${map.legend})` }));
  if (found && numbers.length > 1) {
    const heads = numbers.map((number) => element("th", { scope: "col", text: facts.maps[number].name, title: facts.maps[number].name }));
    made.append(element("thead", {}, element("tr", {}, element("th", { scope: "col", text: "Class" }), ...heads)));
  }
  const total = Math.max(...sums);
  const body = element("tbody");
  for (const { value, name, color } of map.classes) {
    const row = element("tr", {}, element("th", { scope: "row" }, swatch(color), name));
    areas.forEach((mine, index) => {
      if (!mine) return;
      row.append(element("td", { text: hectares(mine[value], total) }));
      if (numbers.length === 1) row.append(element("td", { class: "share", text: sums[index] ? percent(mine[value] / sums[index], 1) : "" }));
    });
    if (areas.every((mine) => mine && !mine[value])) row.className = "absent";
    body.append(row);
  }
  made.append(body);
  if (found) {
    const cells = sums.flatMap((sum) => [element("td", { text: hectares(sum, total) }), ...(numbers.length === 1 ? [element("td")] : [])]);
    made.append(element("tfoot", {}, element("tr", {}, element("th", { scope: "row", text: "Together" }), ...cells)));
  }
  return made;
}

// --- controls -----------------------------------------------------------------------------------

function choices(id, name, options, chosen, choose) {
  for (const [value, label] of options) {
    const input = element("input", { type: "radio", name, value });
    input.checked = value === chosen;
    input.addEventListener("change", () => choose(value));
    byId(id).append(element("label", {}, input, element("span", { text: label })));
  }
}

function setUpThemes() {
  const known = Object.entries(THEMES).filter(([name]) => facts.maps[0].layers[name]);
  choices("themes", "theme", [...known, ["none", "None"]], state.theme, (value) => {
    state.theme = value;
    redraw();
  });
  byId("opacity").addEventListener("input", ({ target }) => {
    state.opacity = target.value / 100;
    redraw();
  });
}

function setUpGrounds() {
  const names = [...new Set(facts.imagery.map(({ name }) => name))];
  byId("grounds").hidden = names.length === 0;
  choices("grounds", "ground", [["none", "Nothing"], ...names.map((name) => [name, name])], state.ground, (value) => {
    state.ground = value;
    setUpPeriods();
    redraw();
  });
  byId("period").addEventListener("change", ({ target }) => {
    state.period = target.value;
    redraw();
  });
}

function setUpPeriods() {
  const periods = facts.imagery.filter(({ name }) => name === state.ground).map(({ period }) => period);
  if (!periods.includes(state.period)) state.period = periods[0] ?? "";
  byId("period").replaceChildren(...periods.map((period) => new Option(span(period), period, false, period === state.period)));
  byId("period-row").hidden = periods.length === 0;
}

function span(period) {
  const [start, end] = period.split("/");
  const last = new Date(Date.parse(`${end}T00:00:00Z`) - 86400000).toISOString().slice(0, 10);
  return start === last ? start : `${start} to ${last}`;
}

function setUpText() {
  const [first, second] = facts.maps;
  document.title = `Land cover: ${first.name}`;
  byId("subtitle").textContent = `${first.name}, legend ${first.legend}`;
  if (first.interval) byId("days").textContent = `Imagery of ${span(`${first.interval.start}/${first.interval.end}`)}`;
  byId("attribution").textContent = facts.attribution ? `${facts.attribution}.` : "";
  byId("notes").hidden = facts.notes.length === 0;
  byId("notes").append(...facts.notes.map((note) => element("li", { text: note })));
  byId("ramp-bar").style.background = `linear-gradient(to right, ${facts.ramp.join(", ")})`;
  if (!second) return;
  byId("compare-row").hidden = false;
  byId("compare-told").textContent = `Compare with ${second.name}`;
  byId("left-name").textContent = first.name;
  byId("right-name").textContent = second.name;
}

function setUpPanel() {
  byId("fold").addEventListener("click", () => {
    const isOpen = byId("panel-body").toggleAttribute("hidden") === false;
    byId("panel").classList.toggle("folded", !isOpen);
    byId("fold").setAttribute("aria-expanded", isOpen);
    byId("fold").textContent = isOpen ? "Hide" : "Show";
  });
  byId("compare").addEventListener("change", ({ target }) => {
    state.isComparing = target.checked;
    compare();
  });
}

async function start() {
  facts = await answer("facts.json");
  setUpText();
  setUpThemes();
  setUpGrounds();
  setUpPanel();
  listenToDivider();
  tables(null);
  left = newMap(byId("left"), 0, firstCamera());
  left.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-right");
  left.addControl(new maplibre.ScaleControl({ maxWidth: 140 }), "bottom-left");
  left.on("movestart", () => stale(true));
  left.on("moveend", () => { measure(); hint(); });
  left.on("idle", () => { document.body.dataset.drawn = "yes"; });
  measure();
  hint();
}

start().catch((error) => {
  byId("hint").hidden = false;
  byId("hint").textContent = `The map cannot be shown: ${error.message.split("\n")[0]}`;
});
