// What every TypeScript client is put through: the same steps, whatever the SDK's release and the protocol's era.
//
// One line a check, `ok WHAT DETAIL`; the first mismatch ends the program with `FAILED ...` on stderr and exit code 1. Nothing
// waits longer than `PATIENCE`. What the SDK reports (onerror, console, process warnings) is a mismatch too, unless `EXPECTED`
// names it.

export const LEGACY = "2025-11-25";
export const MODERN = "2026-07-28";
const SERVER = "mcp-echo-streamablehttp-server-stateful";
const TOOLS = [
  "echo",
  "replayLastEcho",
  "printHeader",
  "bearerDecode",
  "authContext",
  "requestTiming",
  "corsAnalysis",
  "environmentDump",
  "healthProbe",
  "sessionInfo",
  "whoIStheGOAT",
];

// Milliseconds. A step takes three seconds at most; the rest is for a busy machine.
export const PATIENCE = 20_000;
const LONGEST = 90_000;

const CANCELLED_MS = 1000;
// Longer than what is cancelled: when this answer is there, the cancelled one would have been counted.
const WAITED_MS = 2200;

// What an SDK may report: [pattern, why].
const EXPECTED = [[/^SSE stream disconnected: AbortError/, "the SDK's own word for closing its GET stream"]];

class Mismatch extends Error {}

function require(condition, what) {
  if (!condition) throw new Mismatch(what);
}

function equal(got, wanted, what) {
  const [left, right] = [JSON.stringify(got), JSON.stringify(wanted)];
  require(left === right, `${what}: ${left} instead of ${right}`);
}

function ok(what, detail = "") {
  console.log(`ok ${what} ${detail}`.trimEnd());
}

async function within(promise, what, milliseconds = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Mismatch(`${what}: nothing came within ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What reached the client besides its answers. */
export class Seen {
  exchanges = [];
  logLines = [];
  problems = [];
  #waiting = new Set();

  constructor() {
    for (const channel of ["warn", "error"]) {
      console[channel] = (...words) => this.problem(words.map(String).join(" "));
    }
    process.on("warning", (warning) => this.problem(String(warning)));
    process.on("unhandledRejection", (reason) => this.problem(`unhandled rejection: ${reason}`));
  }

  /** In place of the transport's own fetch: the same, remembered. */
  fetch = async (url, init = {}) => {
    const response = await fetch(url, init);
    const body = init.body ? JSON.parse(init.body) : undefined;
    this.exchanges.push({
      method: init.method ?? "GET",
      rpc: body?.method ?? init.method ?? "GET",
      request: new Headers(init.headers),
      status: response.status,
      response: response.headers,
    });
    this.#notify();
    return response;
  };

  log(params) {
    this.logLines.push(params);
    this.#notify();
  }

  problem = (problem) => {
    this.problems.push(problem instanceof Error ? problem.message : String(problem));
  };

  #notify() {
    for (const look of this.#waiting) look();
  }

  /** Waits for what `found` returns once it is not undefined. */
  async until(what, found) {
    let look;
    const arrived = new Promise((resolve) => {
      look = () => {
        const result = found();
        if (result !== undefined) resolve(result);
      };
    });
    this.#waiting.add(look);
    look();
    try {
      return await within(arrived, what);
    } finally {
      this.#waiting.delete(look);
    }
  }

  rpcs() {
    return this.exchanges.map((exchange) => exchange.rpc);
  }
}

/** A tool's result as text and facts. */
function answerOf(tool, result) {
  const text = result.content.map((block) => block.text ?? "").join("");
  require(!result.isError, `${tool} failed: ${text}`);
  return { text, facts: result.structuredContent ?? {} };
}

async function call(client, tool, args = {}, options = {}) {
  return answerOf(tool, await within(client.call(tool, args, options), tool));
}

async function connected(client, version) {
  equal(client.version, version, "negotiated version");
  equal(client.server, SERVER, "name of the server");
  ok("connect", client.version);
  equal(await within(client.tools(), "tools/list"), TOOLS, "tools/list");
  ok("tools/list", `${TOOLS.length} tools in order`);
}

/** A delayed echo that is cancelled, then one that is not: the first must not be counted, the second must. */
async function progressAndCancel(client, handle, echoes) {
  const abort = new AbortController();
  const cancelled = client
    .call("echo", { message: "cancelled", delayMs: CANCELLED_MS, ...handle }, {
      signal: abort.signal,
      onprogress: () => abort.abort("the client's test"),
    })
    .then(
      () => require(false, "the cancelled call was answered"),
      (error) => require(abort.signal.aborted, `the call failed before it was cancelled: ${error}`),
    );
  await within(cancelled, "cancel");

  const steps = [];
  const answer = await call(client, "echo", { message: "delayed", delayMs: WAITED_MS, ...handle }, {
    onprogress: ({ progress, total }) => steps.push({ progress, total }),
  });
  equal(answer.facts.message, "delayed", "echo with delayMs");
  const shown = steps.map(({ progress, total }) => `${progress}/${total}`).join(" ");
  require(steps.length >= 3, `progress: about one a second, but ${shown}`);
  require(steps.every((step, i) => i === 0 || step.progress > steps[i - 1].progress), `progress has to grow: ${shown}`);
  require(steps.every(({ total }) => total === WAITED_MS), `progress: total ${WAITED_MS}, but ${shown}`);
  ok("progress", shown);

  equal(answer.facts.echoCount, echoes + 1, "cancel: the cancelled echo was counted; echo count");
  const info = (await call(client, "sessionInfo", handle)).facts.session;
  equal(info.echoCount, echoes + 1, "cancel: echo count of sessionInfo");
  const replay = await call(client, "replayLastEcho", handle);
  equal(replay.facts.message, "delayed", "cancel: the cancelled echo is replayed");
  ok("cancel", `echo count ${info.echoCount}, without the cancelled one`);
}

function problems(seen) {
  const refused = seen.exchanges.filter(({ status }) => ![200, 202, 204].includes(status));
  equal(refused.map(({ rpc, status }) => `${rpc} ${status}`), [], "requests that were refused");
  const expected = new Map();
  const others = [];
  for (const problem of seen.problems) {
    const [, why] = EXPECTED.find(([pattern]) => pattern.test(problem)) ?? [];
    if (why) expected.set(problem, { why, count: (expected.get(problem)?.count ?? 0) + 1 });
    else others.push(problem);
  }
  require(others.length === 0, `the client reported: ${others.join(" | ")}`);
  for (const [problem, { why, count }] of expected) console.log(`note ${count} x '${problem}' (${why})`);
  ok("log", "nothing unexpected");
}

async function live(seen, logger) {
  await seen.until(`GET stream: a line of ${logger}`, () => seen.logLines.find((line) => line.logger === logger));
}

/** The handshake era: a session, its GET stream, and its end. */
export async function legacy(client, url) {
  const { seen } = client;
  await connected(client, LEGACY);
  require(!seen.rpcs().includes("server/discover"), "legacy mode asked server/discover");

  const opened = await seen.until("GET stream", () => seen.exchanges.find(({ method }) => method === "GET"));
  equal(opened.status, 200, "GET stream: status");
  const { sessionId } = client;

  const answer = await call(client, "echo", { message: "Hallo, Welt 🌍" });
  equal(answer.text, `Hallo, Welt 🌍\n\nSession: ${sessionId}\nEcho count in session: 1`, "echo: text");
  equal(answer.facts.echoCount, 1, "echo: count");
  ok("echo", `session ${sessionId.slice(0, 8)}`);

  await live(seen, "tools.echo");
  ok("GET stream", "notifications/message of tools.echo, live");

  const replay = await call(client, "replayLastEcho");
  equal(replay.facts.message, "Hallo, Welt 🌍", "replayLastEcho: message");
  ok("replayLastEcho", replay.facts.message);

  const info = (await call(client, "sessionInfo")).facts.session;
  equal(info.sessionId, sessionId, "sessionInfo: id");
  equal(info.protocolVersion, LEGACY, "sessionInfo: version");
  require(info.clientReady && info.openStreams === 1, "sessionInfo: client ready, one stream open, but " + JSON.stringify(info));
  ok("sessionInfo", `echoes ${info.echoCount}, replays ${info.replayCount}, streams ${info.openStreams}`);

  await within(client.ping(), "ping");
  ok("ping");

  await progressAndCancel(client, {}, 1);

  // What is below the level is dropped, not kept for later: healthProbe's line may not follow when the level falls again.
  await within(client.setLevel("error"), "set level");
  await call(client, "healthProbe");
  await within(client.setLevel("info"), "set level");
  await call(client, "requestTiming");
  await live(seen, "tools.requestTiming");
  require(!seen.logLines.some(({ logger }) => logger === "tools.healthProbe"), "set level: an info line came at level error");
  ok("set level", "error silences, info brings back");

  equal(seen.exchanges.filter(({ method }) => method === "GET").length, 1, "GET streams opened in all, none of them again");
  await within(client.close(), "close");
  equal(seen.exchanges.filter(({ method }) => method === "DELETE").map(({ status }) => status), [204], "close: statuses of DELETE");
  ok("close", "DELETE 204");

  // No SDK sends anything in a session that it has ended.
  const dead = await fetch(url, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/json, text/event-stream",
      "Mcp-Session-Id": sessionId,
      "MCP-Protocol-Version": LEGACY,
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
    signal: AbortSignal.timeout(PATIENCE),
  });
  equal(dead.status, 404, "the ended session's id: status");
  const { error } = await dead.json();
  equal(error.data.reason, "deleted", "the ended session's id: reason");
  ok("ended id", `404 ${error.message} (deleted)`);
  problems(seen);
}

/** The stateless era: a handle instead of a session. */
export async function modern(client) {
  const { seen } = client;
  equal(seen.rpcs()[0], "server/discover", "first request");
  await connected(client, MODERN);

  const answer = await call(client, "echo", { message: "Hallo, Welt 🌍" });
  const { sessionId } = answer.facts;
  const handle = { sessionId };
  const short = `by handle ${sessionId?.slice(0, 8)}:`;
  equal(answer.text, `Hallo, Welt 🌍\n\nSession: ${sessionId}\nEcho count in session: 1`, "echo: text");
  ok("echo", `handle ${sessionId.slice(0, 8)}`);

  const replay = await call(client, "replayLastEcho", handle);
  equal(replay.facts.message, "Hallo, Welt 🌍", "replayLastEcho by handle: message");
  equal(replay.facts.sessionId, sessionId, "replayLastEcho by handle: handle");
  ok("replayLastEcho", `${short} ${replay.facts.message}`);

  const info = (await call(client, "sessionInfo", handle)).facts.session;
  equal(info.sessionId, sessionId, "sessionInfo by handle: id");
  equal([info.echoCount, info.replayCount], [1, 1], "sessionInfo by handle: echoes and replays");
  ok("sessionInfo", `${short} echoes ${info.echoCount}, replays ${info.replayCount}`);

  const calls = seen.exchanges.filter(({ rpc }) => rpc === "tools/call");
  equal(calls.map(({ request }) => request.get("mcp-param-session")), [null, null, null], "Mcp-Param-Session of the calls: nobody asks for it");

  await call(client, "healthProbe", {}, { logLevel: "info" });
  equal(seen.logLines.map(({ logger }) => logger), ["tools.healthProbe"], "log lines: only of the call that asked for them");
  ok("log lines", "of the call that asked, on its own stream");

  ok("subscriptions/listen", `acknowledged, ${await within(client.listen(), "subscriptions/listen")}`);

  await progressAndCancel(client, handle, 1);

  await within(client.close(), "close");
  // The SDK also sends notifications/cancelled when it closes a subscription, at every era: the server has to put up with it.
  const handshake = ["initialize", "notifications/initialized", "ping", "GET", "DELETE"];
  equal(seen.rpcs().filter((rpc) => handshake.includes(rpc)), [], "requests of the handshake era");
  require(!seen.exchanges.some(({ response }) => response.has("mcp-session-id")), "an Mcp-Session-Id was answered");
  ok("close", "no request of the handshake era, no session");
  problems(seen);
}

/** PROGRAM URL MODE: runs the steps and says how it went. */
export async function main(run) {
  const [url, mode, ...more] = process.argv.slice(2);
  if (!url || !["legacy", "auto"].includes(mode) || more.length > 0) {
    process.stderr.write(`usage: ${process.argv[1]} URL legacy|auto\n`);
    process.exit(2);
  }
  try {
    await within(run(url, mode), "all of it", LONGEST);
  } catch (error) {
    const place = /\/([\w.-]+\.mjs:\d+)(?::\d+)?\)?$/m.exec(error.stack ?? "")?.[1];
    process.stderr.write(`FAILED ${error instanceof Mismatch || !place ? error.message : `${error} (at ${place})`}\n`);
    process.exit(1);
  }
  // Timers that an SDK left behind would keep the process.
  process.exit(0);
}
