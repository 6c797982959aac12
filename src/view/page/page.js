"use strict";
// One stream of exchanges feeds all. Everything that a client sent is put in as text, never as markup.
const MOST = 1000, SHOWN = 200, MOST_SPAN_MS = 120000, LEAST_SPAN_MS = 15000, RECENT_MS = 300000, MOST_LANES = 20;
const by = (id) => document.getElementById(id);
let exchanges = [], rules = {}, chosen = null, paused = false, waiting = [], instance = null, last = 0, dirty = true, live = false, report = null;

/** An element with text or children; nothing is ever parsed as HTML. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== null) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const started = (one) => Date.parse(one.time);
const failed = (one) => one.status >= 400;
function ago(time) {
  const s = Math.max(0, Math.round((Date.now() - time) / 1000));
  return s < 2 ? "now" : s < 90 ? `${s} s ago` : s < 5400 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`;
}
const when = (one) => el("time", { datetime: one.time, title: one.time }, ago(started(one)));
function what(one) {
  if (!one.rpc) return `${one.method} ${one.target}`;
  return one.rpc.tool ? `${one.rpc.method} ${one.rpc.tool}` : one.rpc.method;
}
const header = (one, name) => (one.headers.find(([key]) => key === name) || [])[1];
const client = (one) => `${one.peer.replace(/:\d+$/, "")} ${header(one, "user-agent") || "(no User-Agent)"}`;
const order = { error: 0, warning: 1, info: 2 };
const severity = (id) => (rules[id] || {}).severity || "warning";

function wanted(one) {
  if (by("failed").checked && !failed(one) && !(one.findings || []).length) return false;
  const words = by("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = [what(one), one.method, one.target, one.status, one.session, one.refused, client(one), ...(one.findings || [])].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function take(one) {
  const at = exchanges.findIndex((other) => other.number === one.number);
  if (at >= 0) exchanges[at] = one; else exchanges.push(one);
  if (exchanges.length > MOST) exchanges.splice(0, exchanges.length - MOST);
  last = Math.max(last, one.number);
  dirty = true;
}

async function follow() {
  for (;;) {
    try {
      const response = await fetch(`/exchanges?follow=1&since=${last}`);
      if (!response.ok) throw new Error(await response.text());
      const now = response.headers.get("x-instance-id");
      if (instance !== null && now !== instance) {
        // Another process: its numbers begin at one.
        [instance, last, exchanges] = [now, 0, []];
        response.body.cancel();
        continue;
      }
      instance = now;
      live = true; dirty = true;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) if (line) { const one = JSON.parse(line); if (paused) { waiting.push(one); if (waiting.length > MOST) waiting.shift(); last = Math.max(last, one.number); dirty = true; } else take(one); }
      }
    } catch { /* it is told by the state */ }
    live = false; dirty = true;
    await new Promise((done) => setTimeout(done, 1000));
  }
}

/** Streams go on after they were told of; figures change by themselves. */
async function refresh() {
  for (;;) {
    try {
      report = await (await fetch("/report?format=json")).json();
      if (!Object.keys(rules).length) rules = await (await fetch("/findings")).json();
      const open = exchanges.filter((one) => one.stream && one.stream.open);
      if (open.length && !paused) {
        const lines = await (await fetch(`/exchanges?since=${open[0].number - 1}`)).text();
        const numbers = new Set(open.map((one) => one.number));
        for (const line of lines.split("\n")) if (line) { const one = JSON.parse(line); if (numbers.has(one.number)) take(one); }
      }
    } catch { /* it is told by the state */ }
    dirty = true;
    await new Promise((done) => setTimeout(done, 2000));
  }
}

function showNow(shown) {
  const found = new Map();
  for (const one of shown) {
    if (Date.now() - started(one) > RECENT_MS) continue;
    for (const id of one.findings || []) found.set(id, { count: (found.get(id) || { count: 0 }).count + 1, one });
  }
  const refused = new Map();
  for (const one of shown) {
    if (!failed(one) || (one.findings || []).length || Date.now() - started(one) > RECENT_MS) continue;
    const key = `${one.status} ${what(one)}`;
    refused.set(key, { count: (refused.get(key) || { count: 0 }).count + 1, one });
  }
  const cards = [...found].sort(([a], [b]) => (order[severity(a)] ?? 1) - (order[severity(b)] ?? 1)).map(([id, { count, one }]) => {
    const rule = rules[id] || { meaning: id, fix: "" };
    const sign = { error: "✖ error", warning: "▲ warning", info: "● note" }[severity(id)] || "▲ warning";
    return el("div", { class: `card ${severity(id)}` },
      el("p", {}, el("span", { class: "sign" }, sign), ` ${rule.meaning} `, el("code", {}, id), count > 1 ? ` ×${count}` : "", " · ", when(one)),
      rule.fix ? el("p", {}, `To do: ${rule.fix}`) : null,
      el("p", {}, proof(one)));
  });
  for (const [key, { count, one }] of [...refused].slice(-5)) {
    cards.push(el("div", { class: "card warning" }, el("p", {}, el("span", { class: "sign" }, "▲ refused"), ` ${key}${count > 1 ? ` ×${count}` : ""} · `, when(one)), one.refused ? el("p", {}, one.refused) : null, el("p", {}, proof(one))));
  }
  for (const [name, { count, one }] of loops(shown)) {
    cards.unshift(el("div", { class: "card error" },
      el("p", {}, el("span", { class: "sign" }, "✖ reconnect loop"), ` ${name}: ${count} streams in the last minute were ended by the other end within five seconds · `, when(one)),
      el("p", {}, "To do: look at the client's log for why it lets go of them, and at the time-outs and buffering of what stands between (docs/proxies.md)"),
      el("p", {}, proof(one))));
  }
  if (!exchanges.length) {
    const url = report ? report.endpoint : `http://${location.hostname}:3000/mcp`;
    cards.push(el("div", { class: "card info" }, el("p", {}, "Nothing has come yet. Point your client at the server, or paste this into a terminal:"),
      el("pre", {}, `curl -s ${url} -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\\n  -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"authContext"}}'`)));
  } else if (!cards.length) {
    cards.push(el("div", { class: "card good" }, el("p", {}, el("span", { class: "sign" }, "✔"), ` nothing wrong in the last five minutes, in ${shown.length} exchanges`)));
  }
  by("now").replaceChildren(...cards);
}

/** Clients whose streams are cut again and again. */
function loops(shown) {
  const cut = new Map();
  for (const one of shown) {
    if (!one.stream || one.stream.endedBy !== "client" || one.stream.endedAtMs > 5000 || Date.now() - started(one) > 60000) continue;
    const name = client(one);
    cut.set(name, { count: (cut.get(name) || { count: 0 }).count + 1, one });
  }
  return [...cut].filter(([, { count }]) => count >= 4);
}

function proof(one) {
  const button = el("button", { type: "button" }, `show exchange ${one.number}`);
  button.addEventListener("click", () => choose(one.number, true));
  return button;
}

function showClients(shown) {
  // As far back as there is something to see, two minutes at most.
  const now = Date.now(), lanes = new Map(), first = shown.length ? started(shown[0]) : now;
  const SPAN_MS = Math.min(MOST_SPAN_MS, Math.max(LEAST_SPAN_MS, (now - first) * 1.05));
  by("span").textContent = SPAN_MS < 90000 ? `${Math.round(SPAN_MS / 1000)} seconds` : "two minutes";
  for (const one of shown) {
    const end = one.stream && one.stream.open ? now : started(one) + (one.stream ? one.stream.endedAtMs || 0 : one.durationMs);
    if (now - end > SPAN_MS) continue;
    const key = `${client(one)}\n${one.session || ""}`;
    if (!lanes.has(key)) lanes.set(key, []);
    lanes.get(key).push([one, end]);
  }
  const rows = [...lanes].slice(-MOST_LANES).reverse().map(([key, all]) => {
    const [name, session] = key.split("\n");
    const track = el("div", { class: "track" });
    for (const [one, end] of all.slice(-150)) {
      const left = Math.max(0, 100 * (1 - (now - started(one)) / SPAN_MS));
      const kind = one.stream ? `flow${one.stream.endedBy === "client" ? " cut" : ""}` : failed(one) ? "failed" : (one.findings || []).length ? "found" : "";
      let title = `${what(one)}: ${one.status}, ${one.durationMs} ms`;
      if (one.stream) title += `; ${one.stream.events} events, ${one.stream.keepAlives} signs of life${one.stream.open ? ", open" : `, ended by the ${one.stream.endedBy === "client" ? "other end" : "server"} after ${Math.round(one.stream.silenceMs / 1000)} s of silence`}`;
      const mark = el("button", { class: `mark ${kind}`, type: "button", title, "aria-label": title, tabindex: "-1" }, failed(one) ? "!" : "");
      mark.style.left = `${left}%`;
      if (one.stream) mark.style.width = `${Math.max(0.5, 100 * (end - Math.max(started(one), now - SPAN_MS)) / SPAN_MS)}%`;
      mark.addEventListener("click", () => choose(one.number, true));
      track.append(mark);
    }
    const bad = all.filter(([one]) => failed(one)).length;
    return el("div", { class: "lane" }, el("p", {}, name, el("br"), el("small", {}, `${session ? `session ${session}` : "no session"} · ${all.length} exchanges${bad ? `, ${bad} refused` : ""}`)), track);
  });
  by("clients").replaceChildren(...(rows.length ? rows : [el("p", { class: "dim" }, "Nobody in the last two minutes.")]));
}

function showExchanges(shown) {
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.number : null;
  const rows = shown.slice(-SHOWN).reverse().map((one) => {
    const sign = failed(one) ? "✖" : (one.findings || []).length ? "▲" : "✔";
    const button = el("button", { type: "button", "data-number": one.number, "aria-current": String(one.number === chosen) },
      el("span", { class: failed(one) ? "bad" : "ok" }, `${sign} ${one.status}`), el("span", { class: "took dim" }, `${one.durationMs.toFixed(1)} ms`),
      el("span", { class: "what" }, what(one), one.session ? el("span", { class: "dim" }, ` ${one.session}`) : null, (one.findings || []).length ? ` ${one.findings.join(" ")}` : ""), when(one));
    button.addEventListener("click", () => choose(one.number, true));
    return el("li", {}, button);
  });
  by("exchanges").replaceChildren(...(rows.length ? rows : [el("li", { class: "dim" }, exchanges.length ? "Nothing fits the filter." : "Nothing yet.")]));
  if (focused) { const again = by("exchanges").querySelector(`[data-number="${focused}"]`); if (again) again.focus({ preventScroll: true }); }
}

// What stands between adds these; a client that comes straight sends none of them.
const ADDED = /^(x-forwarded-|forwarded$|via$|x-real-ip$|x-request-id$|cf-|x-envoy-|x-amzn-|x-user-|x-auth-|true-client-ip$|traceparent$|tracestate$|cdn-loop$)/;
function expected(one) {
  if (one.method === "POST") return one.rpc && one.rpc.method === "initialize" ? ["content-type", "accept"] : ["content-type", "accept", "mcp-session-id", "mcp-protocol-version"];
  return one.method === "GET" ? ["accept", "mcp-session-id", "mcp-protocol-version"] : one.method === "DELETE" ? ["mcp-session-id"] : [];
}

function choose(number, moves) {
  chosen = number;
  const one = exchanges.find((other) => other.number === number);
  by("detail").hidden = !one;
  by("split").classList.toggle("open", Boolean(one));
  if (!one) return;
  const names = new Set(one.headers.map(([name]) => name));
  const rows = one.headers.map(([name, value]) => el("tr", {}, el("th", { scope: "row", class: "mono" }, name), el("td", { class: "mono" }, value), el("td", { class: "dim" }, ADDED.test(name) ? "+ added on the way" : "")));
  for (const name of expected(one)) if (!names.has(name)) rows.push(el("tr", {}, el("th", { scope: "row", class: "mono bad" }, name), el("td", { class: "bad" }, "– did not arrive"), el("td", { class: "dim" }, "a direct client of a current revision sends it")));
  const parts = [el("p", {}, el("b", {}, `${one.status} ${what(one)}`), ` · ${one.durationMs} ms · `, when(one)),
    el("p", { class: "dim mono" }, `${one.protocol} from ${one.peer} · ${one.id}${one.session ? ` · session ${one.session}` : ""}`)];
  if (one.refused) parts.push(el("div", { class: "card error" }, el("p", {}, el("span", { class: "sign" }, "✖ refused"), ` ${one.refused}`)));
  for (const id of one.findings || []) { const rule = rules[id] || { meaning: id, fix: "" }; parts.push(el("div", { class: `card ${severity(id)}` }, el("p", {}, el("span", { class: "sign" }, id), ` ${rule.meaning}`), el("p", {}, `To do: ${rule.fix}`))); }
  if (one.stream) parts.push(el("p", {}, one.stream.open ? `stream, open: ${one.stream.events} events, ${one.stream.keepAlives} signs of life` : `stream: ${one.stream.events} events, ${one.stream.keepAlives} signs of life, ended by the ${one.stream.endedBy === "client" ? "other end (the client, or a proxy)" : "server"} after ${(one.stream.endedAtMs / 1000).toFixed(1)} s, ${(one.stream.silenceMs / 1000).toFixed(1)} s of them silent`));
  parts.push(el("h3", {}, "What arrived"), el("p", { class: "mono" }, `${one.method} ${one.target}`), el("table", {}, el("tbody", {}, ...rows)));
  if (one.request) parts.push(el("h3", {}, "Body"), el("pre", {}, one.request));
  if (one.answer) parts.push(el("h3", {}, "Answer"), el("pre", {}, one.answer));
  parts.push(el("h3", {}, "Again, with curl"), el("pre", {}, curl(one)));
  by("one").replaceChildren(...parts);
  if (moves) by("detail-title").focus();
  dirty = true;
}

/** A command that repeats it; what is secret is to be filled in. */
function curl(one) {
  const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;
  const host = header(one, "host") || "127.0.0.1:3000";
  const lines = [`curl -sS -X ${one.method} ${quoted(`http://${host}${one.target}`)}`];
  for (const [name, value] of one.headers) if (!["host", "content-length", "user-agent", "connection", "accept-encoding"].includes(name) && !ADDED.test(name)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (one.request) lines.push(`-d ${quoted(one.request)}`);
  return lines.join(" \\\n  ");
}

function showServer() {
  const now = Date.now(), rate = new Array(60).fill(0);
  for (const one of exchanges) { const s = Math.floor((now - started(one)) / 1000); if (s >= 0 && s < 60) rate[59 - s] += 1; }
  const most = Math.max(1, ...rate);
  const plot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  plot.setAttribute("viewBox", "0 0 59 20"); plot.setAttribute("preserveAspectRatio", "none"); plot.setAttribute("role", "img"); plot.setAttribute("aria-label", `requests a second in the last minute, at most ${most}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", rate.map((n, x) => `${x},${19 - (18 * n) / most}`).join(" "));
  plot.append(line);
  const times = exchanges.map((one) => one.durationMs).sort((a, b) => a - b);
  const quantile = (of) => (times.length ? `${times[Math.min(times.length - 1, Math.floor(times.length * of))].toFixed(2)} ms` : "–");
  const rows = [["requests a second", `${rate[58]}`, plot], ["p50", quantile(0.5)], ["p95", quantile(0.95)]];
  if (report) rows.push(["sessions", report.sessions.active], ["streams open", report.sessions.streams], ["messages waiting", report.sessions.pendingMessages], ["sessions made", report.sessions.created], ["up for", `${Math.round(report.uptimeSeconds / 60)} min`]);
  by("server").replaceChildren(...rows.map(([name, value, extra]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value), extra))));
}

function draw() {
  if (!dirty) return;
  dirty = false;
  const shown = exchanges.filter(wanted);
  by("state").textContent = `${live ? "● live" : "○ no connection, trying again"}${paused ? `, paused (${waiting.length} waiting)` : ""} · ${shown.length} of ${exchanges.length} shown`;
  showNow(shown); showClients(shown); showExchanges(shown); showServer();
}

by("filter").addEventListener("input", () => { dirty = true; draw(); });
by("filter").addEventListener("submit", (event) => event.preventDefault());
by("close").addEventListener("click", () => choose(null));
by("pause").addEventListener("click", () => {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", String(paused));
  by("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) { waiting.forEach(take); waiting = []; }
  dirty = true; draw();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") choose(null);
  const at = event.target.dataset && event.target.dataset.number;
  if (at && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const li = event.target.parentElement[event.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling"];
    if (li && li.firstElementChild) { li.firstElementChild.focus(); event.preventDefault(); }
  }
  if (event.key === "/" && event.target.tagName !== "INPUT") { by("words").focus(); event.preventDefault(); }
});
// Four times a second is as fast as anybody reads, whatever comes.
setInterval(draw, 250);
setInterval(() => { dirty = true; }, 1000);
follow();
refresh();
