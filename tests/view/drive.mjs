// The admin page in a real browser: node drive.mjs PLAYWRIGHT SERVER FOLDER. Exits 0 only where all holds; screenshots go to FOLDER.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { once } from "node:events";
import { createServer } from "node:net";
import { mkdirSync } from "node:fs";

const [, , playwright, server, folder] = process.argv;
const { chromium } = createRequire(import.meta.url)(playwright);
mkdirSync(folder, { recursive: true });

function must(holds, what) {
  console.log(`${holds ? "ok    " : "FAILED"} ${what}`);
  if (!holds) process.exitCode = 1;
}

async function freePort() {
  const one = createServer().listen(0, "127.0.0.1");
  await once(one, "listening");
  const { port } = one.address();
  one.close();
  await once(one, "close");
  return port;
}

const [port, admin] = [await freePort(), await freePort()];
function start() {
  const env = { PATH: process.env.PATH, MCP_ECHO_PORT: String(port), MCP_ADMIN_ADDR: `127.0.0.1:${admin}`, MCP_SSE_KEEPALIVE_INTERVAL: "1", LOG_LEVEL: "OFF", MCP_EXPECT_AUDIENCE: "https://mcp.example/mcp", MCP_RECORD_BODIES: "true" };
  return spawn(server, [], { env, stdio: "ignore" });
}
let running = start();
const url = `http://127.0.0.1:${port}/mcp`;
async function until(what, check, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    try { if (await check()) return; } catch { /* not yet */ }
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
const listens = () => until("the server listens", async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).ok && (await fetch(`http://127.0.0.1:${admin}/`)).ok);
await listens();

const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
let id = 0;
async function post(method, params, extra = {}) {
  const notification = method.startsWith("notifications/");
  const body = { jsonrpc: "2.0", method, ...(notification ? {} : { id: ++id }), ...(params ? { params } : {}) };
  return fetch(url, { method: "POST", headers: { ...headers, ...extra }, body: JSON.stringify(body) });
}
async function session(extra = {}) {
  const answer = await post("initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "browser-test", version: "1" } }, extra);
  const own = { ...extra, "mcp-session-id": answer.headers.get("mcp-session-id"), "mcp-protocol-version": "2025-11-25" };
  await post("notifications/initialized", null, own);
  return own;
}
const segment = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const token = `${segment({ alg: "RS256", kid: "1" })}.${segment({ iss: "https://issuer.example", sub: "alice", aud: "https://other.example", exp: 2000000000, iat: 1700000000 })}.${Buffer.from("a signature that nobody made, of a usual length").toString("base64url")}`;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 900, height: 1000 } });
const page = await context.newPage();
const complaints = [], elsewhere = [];
page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("request", (request) => { if (!request.url().startsWith(`http://127.0.0.1:${admin}/`)) elsewhere.push(request.url()); });

async function shots(name) {
  for (const width of [375, 900, 1600]) for (const scheme of ["light", "dark"]) {
    await page.setViewportSize({ width, height: 1000 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.screenshot({ path: `${folder}/${name}-${width}-${scheme}.png` });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    must(!wide, `${name} at ${width} px needs no scrolling to the side`);
  }
  await page.setViewportSize({ width: 900, height: 1000 });
}

await page.goto(`http://127.0.0.1:${admin}/`);
await page.getByText("Nothing has come yet").waitFor();
await page.locator("#now", { hasText: url }).waitFor();
must((await page.textContent("#now")).includes(`curl -s ${url}`), "where nothing has come, it says what to do");
await shots("nothing");

const healthy = await session();
for (let n = 0; n < 5; n++) await post("tools/call", { name: "echo", arguments: { message: "hello" } }, healthy);
await page.getByText("nothing wrong in the last five minutes").waitFor();
must(true, "a healthy client is told as such");
await shots("healthy");

const wrong = await session({ authorization: `Bearer ${token}` });
const began = Date.now();
await post("tools/call", { name: "bearerDecode", arguments: {} }, wrong);
await page.locator("#now .card.error code", { hasText: "tok.aud" }).first().waitFor({ timeout: 3000 });
must(Date.now() - began < 2000, `a token for another audience is told after ${Date.now() - began} ms`);
must((await page.textContent("#now .card.error")).includes("To do:"), "with what to do");
await page.locator("#now .card.error button").first().click();
const detail = await page.textContent("#detail");
must(detail.includes("tools/call bearerDecode") && detail.includes("What arrived") && detail.includes("curl -sS"), "and the exchange that proves it");
must(!detail.includes(token.split(".")[1]) && detail.includes("Bearer eyJhbGc..."), "without the token");
await shots("audience");
await page.keyboard.press("Escape");
must(await page.locator("#detail").isHidden(), "Escape closes it");
// What docs/view.md shows.
await page.evaluate(() => scrollTo(0, 0));
await page.emulateMedia({ colorScheme: "light" });
await page.screenshot({ path: `${folder}/page.png`, clip: { x: 0, y: 0, width: 900, height: 760 } });

const stop = new AbortController();
const stream = await fetch(url, { headers: { ...healthy, accept: "text/event-stream" }, signal: stop.signal });
await stream.body.getReader().read();
await page.locator(".mark.flow:not(.cut)").first().waitFor();
stop.abort();
await page.locator(".mark.flow.cut").first().waitFor({ timeout: 8000 });
must(true, "a stream is a bar, and cut where the other end cut it");
for (let n = 0; n < 6; n++) {
  const again = new AbortController();
  await (await fetch(url, { headers: { ...healthy, accept: "text/event-stream" }, signal: again.signal })).body.getReader().read();
  again.abort();
}
await until("a loop of reconnects", async () => (await page.locator(".mark.flow").count()) >= 7);
await page.locator("#now", { hasText: "reconnect loop" }).waitFor({ timeout: 8000 });
must(true, "a loop of reconnects is told as one");
await shots("reconnects");

await fetch(url, { method: "OPTIONS", headers: { origin: "https://app.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization" } });
await page.locator("#exchanges button", { hasText: "OPTIONS" }).first().waitFor();
must(true, "a preflight is there");
await shots("preflight");

const markup = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e";
await fetch(`${url}/${encodeURIComponent(markup)}`, { headers: { "user-agent": "<b>evil</b>", "x-evil": encodeURIComponent(markup) } });
await post(markup, { x: "y".repeat(65536) }, { "user-agent": "<b>evil</b>" });
await page.locator("#clients", { hasText: "<b>evil</b>" }).waitFor();
must((await page.locator("#clients b, main img, main script").count()) === 0, "markup that a client sends stays text");

await page.fill("#words", "bearerDecode");
await until("the filter", async () => { const rows = await page.locator("#exchanges li button").allTextContents(); return rows.length > 0 && rows.every((row) => row.includes("bearerDecode")); });
must(true, "the filter leaves what fits");
await page.fill("#words", "");
await page.locator("#exchanges button").first().focus();
const first = await page.evaluate(() => document.activeElement.dataset.number);
await page.keyboard.press("ArrowDown");
const second = await page.evaluate(() => document.activeElement.dataset.number);
must(Number(second) < Number(first), "arrow keys go through the exchanges");
await page.keyboard.press("Enter");
must(await page.locator("#detail").isVisible(), "Enter opens one");
await page.keyboard.press("Escape");
const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, a")].filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || (one.labels && one.labels.length))).length);
must(unnamed === 0, "everything that can be used has a name");

const har = JSON.parse(await (await fetch(`http://127.0.0.1:${admin}/exchanges?format=har`)).text());
must(har.log.version === "1.2" && har.log.entries.length > 10, `the export is an archive of ${har.log.entries.length} exchanges`);

const end = Date.now() + 3000;
let sent = 0;
while (Date.now() < end) { await Promise.all(Array.from({ length: 10 }, () => post("ping", null, healthy))); sent += 10; await new Promise((done) => setTimeout(done, 60)); }
const drawn = await page.evaluate(() => new Promise((done) => { const began = performance.now(); requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began))); }));
must(drawn < 1000, `at ${Math.round(sent / 3)} exchanges a second the page answers within ${Math.round(drawn)} ms`);
await shots("busy");

running.kill();
await once(running, "exit");
await page.getByText("no connection").waitFor();
running = start();
await listens();
await post("ping");
await until("it goes on after a restart", async () => (await page.locator("#exchanges li button").count()) === 1 && (await page.textContent("#state")).includes("live"), 15000);
must(true, "it goes on when the server was started anew");

const expected = complaints.filter((text) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/.test(text));
must(expected.length === 0, `the console has no complaint${expected.length ? `: ${expected.join("; ")}` : ""}`);
must(elsewhere.length === 0, `nothing is asked of anybody else${elsewhere.length ? `: ${elsewhere.join(" ")}` : ""}`);
await browser.close();
running.kill();
