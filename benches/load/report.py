"""The parts of the load bench, and their figures as Markdown: tables, and the budgets with what was measured."""

import dataclasses
import datetime
import os
import platform
import re
from pathlib import Path

import cases
import instructions
import memory
import moments
import shared
import stores
import throughput
from binaries import ROOT

README = ROOT / "benches" / "README.md"
# Where the tables go in it.
BEGIN, END = "<!-- benches/load/run --write: from here -->", "<!-- to here -->"
# At how many connections CPU time has its budget.
CPU_AT = 16
IDLE_SIZES = [10_000, 100_000, 1_000_000]


class Budgets:
    """Rows: what, measured, budget, met or not."""

    def __init__(self):
        self.rows = []
        self.exceeded = 0

    def at_most(self, what, figure, budget, unit=""):
        met = "met" if figure <= budget else "**not met**"
        self.exceeded += figure > budget
        self.rows.append(f"| {what} | {shown(figure)}{unit} | {shown(budget)}{unit} | {met} |")


def shown(figure):
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}".removesuffix(".00")


def load(given, built, budgets, say):
    chosen = [case for case in cases.CASES if case.name in given.cases]
    rows = throughput.run(built, chosen, given.connections, given.rounds, given.seconds, say)
    for row in rows:
        if row.connections == CPU_AT and row.case.cpu_budget:
            budgets.at_most(f"CPU of {row.case.title}, to the floor's", row.ratio.cpu_us, row.case.cpu_budget, "×")
    return f"Floor / server, medians of {given.rounds} rounds of {given.seconds} s:\n\n{throughput.table(rows)}"


def idle(_, built, budgets, say):
    rows, costs = memory.idle_sessions(built, IDLE_SIZES, say)
    most = rows[-1]
    budgets.at_most(f"an idle session, of {most.sessions:,}", most.each, 1100, " bytes")
    budgets.at_most(f"{most.sessions:,} idle sessions, the whole process", most.whole / 1e9, 1.2, " GB")
    what = f"CPU of an echo among {most.sessions:,} sessions, to that among {memory.IN_USE:,}"
    budgets.at_most(what, costs["grown"], 1.15, "×")
    lines = ["| idle sessions | bytes each | the process, MB | opened a second |", "|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.sessions:,} | {row.each:,.0f} | {row.whole / 1e6:,.0f} | {row.per_second:,.0f} |")
    text = (
        f"CPU of an echo at {CPU_AT} connections, in {memory.IN_USE:,} sessions: {costs['few']:.1f} µs where there are "
        f"no others, {costs['many']:.1f} µs among {most.sessions:,}; in {memory.SPREAD:,} of those at random: "
        f"{costs['anywhere']:.1f} µs."
    )
    return "\n".join(lines) + "\n\n" + text


def queue(_, built, budgets, say):
    each = memory.full_queues(built, say)
    budgets.at_most(f"a full queue of {memory.QUEUE} messages", each / 1000, 24, " KB")
    return f"A full queue of {memory.QUEUE} messages: {each:,.0f} bytes ({memory.QUEUED:,} sessions)."


def streams(_, built, budgets, say):
    floor, server = memory.open_streams(built, say)
    budgets.at_most("an open stream, to the floor's", server / floor, 1.3, "×")
    return (
        f"An open GET stream, of {memory.STREAMS:,}: {server / 1000:.1f} KB; the floor's {floor / 1000:.1f} KB "
        f"({server / floor:.2f}×). Memory of the process, without the kernel's buffers."
    )


def expiry(_, built, budgets, say):
    seen = moments.expiry(built, say)
    what = f"p99.9 of other requests while {moments.EXPIRING:,} sessions expire"
    budgets.at_most(what, seen.expiring.p999 / 1000, 5, " ms")
    lines = [
        f"{seen.count:,} of {moments.SESSIONS:,} sessions expire in {seen.took_ms:.0f} ms. Meanwhile {moments.RATE:,} "
        "echoes a second in other sessions, each counted from when it was due:",
        "",
        "| | p50, ms | p99, ms | p99.9, ms | longest, ms |",
        "|---|---|---|---|---|",
    ]
    for what, times in [
        ("nothing expires", seen.quiet),
        (f"{moments.EXPIRING:,} are told that they will (2 s)", seen.warned),
        (f"{moments.EXPIRING:,} expire", seen.expiring),
    ]:
        figures = (times.p50, times.p99, times.p999, times.longest)
        lines.append(f"| {what} | " + " | ".join(f"{figure / 1000:.2f}" for figure in figures) + " |")
    return "\n".join(lines)


def delivery(_, built, __, say):
    arrived, answered = moments.deliveries(built, say)
    return (
        f"From sending a call to its notification on the session's stream: p50 {arrived.p50} µs, p99 {arrived.p99} µs; "
        f"to its own answer: p50 {answered.p50} µs, p99 {answered.p99} µs."
    )


def start(_, built, budgets, say):
    floor, server = moments.starts(built, say)
    budgets.at_most("start to first answer", server, 15, " ms")
    return f"Start to first answer: {server:.1f} ms; the floor's {floor:.1f} ms."


def size(_, built, budgets, __):
    of = {name: os.stat(getattr(built, name)).st_size / 1e6 for name in ("floor", "server")}
    budgets.at_most("binary", of["server"], 9, " MB")
    return f"Binary: {of['server']:.2f} MB; the floor's {of['floor']:.2f} MB."


def kept(given, built, budgets, say):
    seen = stores.run(built, given.rounds, given.seconds, say)
    memory, disk = seen.memory, seen.disk
    budgets.at_most("echo on disk alone, p50, to an fdatasync of that disk", seen.alone_us / seen.sync_us, 4, "×")
    budgets.at_most("CPU of an echo on disk at 64 connections, to memory's", disk.cpu_us / memory.cpu_us, 4, "×")
    return (
        f"Echo on disk, whose fdatasync takes {seen.sync_us:.0f} µs: alone p50 {seen.alone_us:.0f} µs; at 64 connections "
        f"{disk.per_second:,.0f} a second, {disk.cpu_us:.0f} µs of CPU each, p50 {disk.p50_us:.0f} µs. In memory "
        f"{memory.per_second:,.0f} a second, {memory.cpu_us:.0f} µs each."
    )


def in_redis(given, built, budgets, say):
    seen = shared.run(built, given.rounds, given.seconds, say)
    budgets.at_most("scripts an echo in Redis", seen.sticky, 1.01, "")
    budgets.at_most("scripts an echo with an open stream", seen.streamed, 2.1, "")
    budgets.at_most("scripts an echo, round robin", seen.round_robin, 2.1, "")
    budgets.at_most("scripts a call, 64 at once over four replicas", seen.at_once, 0.5, "")
    budgets.at_most("an idle session", seen.idle_bytes / 1024, 2, " KB")
    budgets.at_most("a session with 100 messages", seen.full_bytes / 1024, 24, " KB")
    budgets.at_most("echo alone, p50, to the bare script's", seen.alone_us / seen.bare_alone_us, 1.5, "×")
    return (
        f"Echo in Redis: alone p50 {seen.alone_us:.0f} µs, the bare script {seen.bare_alone_us:.0f} µs; at 64 connections "
        f"{seen.per_second:,.0f} a second ({seen.cpu_us:.0f} µs of CPU each), the bare script {seen.bare_per_second:,.0f}: "
        f"{100 * seen.per_second / seen.bare_per_second:.0f} %."
    )


def recorded(_, built, budgets, say):
    echo = next(case for case in cases.CASES if case.name == "echo")
    say("instructions: echo, recorded and not")
    watched = dataclasses.replace(echo, environment=(*echo.environment, ("MCP_ADMIN_ADDR", "127.0.0.1:0")))
    without, with_it = (
        instructions.a_request(([built.server], "/mcp"), case).instructions for case in (echo, watched)
    )
    budgets.at_most("instructions of an echo that is recorded, to one that is not", with_it / without, 1.05, "×")
    return f"An echo that is recorded: {with_it:,.0f} instructions; one that is not: {without:,.0f}."


def counted(given, built, budgets, say):
    chosen = [case for case in cases.CASES if case.name in given.cases]
    rows = instructions.run(built, chosen, say)
    for case, floor, server in rows:
        if case.instructions_budget:
            ratio = server.instructions / floor.instructions
            budgets.at_most(f"instructions of {case.title}, to the floor's", ratio, case.instructions_budget, "×")
    return "Outside the kernel, by callgrind:\n\n" + instructions.table(rows)


PARTS = {
    "load": load,
    "idle": idle,
    "queue": queue,
    "streams": streams,
    "expiry": expiry,
    "delivery": delivery,
    "start": start,
    "size": size,
    "stores": kept,
    "redis": in_redis,
    "recorder": recorded,
    "instructions": counted,
}
# Parts that need `crowd`.
CROWDED = {"idle", "queue", "streams", "expiry", "delivery"}


def machine():
    """Its class, and how busy it is."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    kib = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    return (
        f"{datetime.date.today()}, {model[1] if model else platform.machine()}, {os.cpu_count()} CPUs, "
        f"{kib / 2**20:.0f} GiB, Linux {platform.release().split('-')[0]}, load average {os.getloadavg()[0]:.1f} "
        "before the run"
    )


def make(given, built, say, show):
    """Runs the parts and shows each when it is done: the whole takes minutes. Returns it all as Markdown, and how many budgets
    were exceeded."""
    budgets, where, texts = Budgets(), machine(), []
    show(where + ".\n")
    for part in given.parts:
        texts.append(PARTS[part](given, built, budgets, say))
        show(texts[-1] + "\n")
    if budgets.rows:
        texts.insert(0, "\n".join(["| budget | measured | at most | |", "|---|---|---|---|", *budgets.rows]))
        show(texts[0])
    return "\n\n".join([where + ".", *texts]), budgets.exceeded


def write(text):
    """Puts the text in its place in the README."""
    readme = README.read_text()
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
