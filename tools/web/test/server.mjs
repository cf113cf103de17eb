// One `ringway up` on a folder of its own, which can be killed and started again at the same addresses.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const READY_MS = 30_000;
const LOG_LINES_MAX = 200;

export class Server {
  #program;
  #child = null;
  /** The last lines it logged, for a test that fails. */
  log = [];
  ready = null;

  constructor(program) {
    this.#program = program;
  }

  /** Starts it on free ports the first time, later on the ports it had. */
  async start() {
    this.folder ??= await mkdtemp(join(tmpdir(), "ringway-page-"));
    const at = (name) => (this.ready ? new URL(this.ready[name]).host : "127.0.0.1:0");
    const addresses = ["--listen", at("ws"), "--api", at("api"), "--admin", at("admin")];
    const child = spawn(this.#program, ["up", "--data", join(this.folder, "data"), "--shards", "1", ...addresses], {
      cwd: this.folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    createInterface(child.stderr).on("line", (line) => {
      this.log.push(line);
      if (this.log.length > LOG_LINES_MAX) this.log.shift();
    });
    const late = setTimeout(() => child.kill("SIGKILL"), READY_MS);
    try {
      for await (const line of createInterface(child.stdout)) {
        this.ready = JSON.parse(line).ready;
        return;
      }
    } finally {
      clearTimeout(late);
    }
    throw new Error(`the server ended before it was ready:\n${this.log.join("\n")}`);
  }

  /** Ends the process that runs, by its id, and gives its exit code and signal. */
  async end(signal) {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return [child?.exitCode, child?.signalCode];
    const ended = once(child, "exit");
    child.kill(signal);
    return ended;
  }

  async remove() {
    await this.end("SIGKILL");
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
  }
}
