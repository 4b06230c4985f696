// BullMQ under the same loads as the others: `node bullmq.mjs ROLE ORDER`, as benchmarks/rivals/__main__.py.
// Its packages lie in the folder that NODE_PATH names. A process ends when its standard input does.

import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.env.RIVAL_HOME + "/");
const { Queue, QueueEvents, Worker } = require("bullmq");
const { Redis } = require("ioredis");

const BATCH = 100;
const PLAIN_TEXT = "y".repeat(200);
const TEXT = { large: "y".repeat(10_000) };
const SLEEP_MS = { sleep: 1, nap: 2 };
const KEPT = { removeOnComplete: { age: 3600 } };

const [role, text] = process.argv.slice(2);
const order = { count: 0, kind: "noop", slots: 100, settings: "best", within_s: 120, tenants: 1, ...JSON.parse(text) };

const path = order.url.startsWith("unix://") ? order.url.slice("unix://".length).split("?")[0] : order.url;
const connect = () => new Redis(path, { maxRetriesPerRequest: null });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const cpuS = () => Object.values(process.cpuUsage()).reduce((a, b) => a + b) / 1e6;
const now = () => performance.now() / 1000;
const say = (row) => process.stdout.write(JSON.stringify(row) + "\n");

let go;
const told = new Promise((resolve) => { go = resolve; });
createInterface({ input: process.stdin })
  .on("line", (line) => { if (line.trim() === "go") go(); })
  .on("close", () => process.exit(3));

const queue = new Queue("bench", { connection: connect() });

async function task(job) {
  const { kind, text } = job.data;
  if (kind === "nap" || kind === "hold") {
    appendFileSync(order.notes, `${text} ${Date.now() / 1000}\n`);
    if (kind === "hold" && order.stuck) await sleep(600_000);
  }
  if (SLEEP_MS[kind]) await sleep(SLEEP_MS[kind]);
  return { a: 1 };
}

function startWorker(onCompleted) {
  const tuned = { lockDuration: 3000, stalledInterval: 1000, maxStalledCount: 3 };
  const worker = new Worker("bench", task, {
    connection: connect(),
    concurrency: order.slots,
    ...(order.settings === "tuned" ? tuned : {}),
  });
  worker.on("error", (error) => process.stderr.write(`${error}\n`));
  if (onCompleted) worker.on("completed", onCompleted);
  return worker;
}

const sendMany = (kind, texts, firstRank) =>
  queue.addBulk(texts.map((text, n) => ({
    name: "task",
    data: { kind, text },
    opts: order.ranked ? { ...KEPT, priority: firstRank + n } : KEPT,
  })));

const roles = {
  async drain() {
    const text = TEXT[order.kind] ?? PLAIN_TEXT;
    let started = now();
    let first = 0;
    const sendLists = async () => {
      while (first < order.count) {
        const size = Math.min(BATCH, order.count - first);
        first += size;
        await sendMany(order.kind, Array(size).fill(text), 1);
      }
    };
    await Promise.all([sendLists(), sendLists()]); // one list is made while the other's answer is under way
    const bulk = order.count / (now() - started);
    let left = order.count;
    started = now();
    const cpu = cpuS();
    await new Promise((resolve, reject) => {
      startWorker(() => { if (--left === 0) resolve(); });
      setTimeout(() => reject(new Error(`not ${order.count} tasks within ${order.within_s} s`)), order.within_s * 1000).unref();
    });
    return {
      bulk_per_s: bulk,
      per_s: order.count / (now() - started),
      worker_us: ((cpuS() - cpu) / order.count) * 1e6,
    };
  },
  async one_by_one() {
    const started = now();
    const cpu = cpuS();
    for (let n = 0; n < order.count; n++) await queue.add("task", { kind: order.kind, text: PLAIN_TEXT }, KEPT);
    return { one_by_one_per_s: order.count / (now() - started), client_us: ((cpuS() - cpu) / order.count) * 1e6 };
  },
  async call() {
    const events = new QueueEvents("bench", { connection: connect() });
    await events.waitUntilReady();
    const once = async () => (await queue.add("task", { kind: "noop", text: PLAIN_TEXT }, KEPT)).waitUntilFinished(events, 30_000);
    for (let n = 0; n < 3; n++) await once();
    const times = [];
    const until = now() + order.within_s;
    while (times.length < order.count && now() < until) {
      const started = now();
      await once();
      times.push((now() - started) * 1000);
    }
    times.sort((a, b) => a - b);
    return {
      call_p50_ms: times[Math.floor(times.length / 2)],
      call_p99_ms: times[Math.floor(times.length * 0.99)],
      calls: times.length,
    };
  },
  async send() {
    process.stdout.write("ready\n");
    await told;
    for (let tenant = 0; tenant < order.tenants; tenant++)
      for (let first = 0; first < order.count; first += BATCH) {
        const texts = [];
        for (let n = first; n < Math.min(first + BATCH, order.count); n++)
          texts.push(`${order.tag}${tenant}.${n} ${Date.now() / 1000}`);
        await sendMany(order.kind, texts, first + 1);
      }
    return {};
  },
  async work() {
    process.stdout.write("ready\n");
    await told;
    const worker = startWorker();
    await worker.waitUntilReady();
    process.stdout.write("working\n");
    await new Promise(() => {});
  },
};

try {
  say(await roles[role]());
  process.exitCode = 0;
} catch (error) {
  process.stderr.write(`${error}\n`);
  process.exitCode = 1;
}
process.stdout.write("", () => process.exit());
