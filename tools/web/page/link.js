// One WebSocket: commands out, replies matched by id, pushes handed on. It lives until it is closed once.

const REPLY_TIMEOUT_MS = 20_000;

/** What people are told for the refusals that they can meet; others by their name. */
const WORDS = {
  4030: "you may not write here",
  4031: "you are not a member",
  4040: "there is no such user or group",
  4130: "it is too long",
};

/** The server refused a command. */
export class Refused extends Error {
  constructor({ code, message, temporary, retry_after_ms }) {
    super(WORDS[code] || message || `error ${code}`);
    Object.assign(this, { code, temporary: Boolean(temporary), retryAfterMs: retry_after_ms ?? 0 });
  }
}

/** The connection ended before the reply. */
export class Lost extends Error {}

export class Link {
  #socket;
  #waiting = new Map();
  #nextId = 1;
  #named = new Set();
  #receivedAt = Date.now();
  #settled;

  /** `settled` is called after each message of the server and each end of a command, when all of it is handed on. */
  constructor(address, { opened, pushed, settled, closed }) {
    this.#settled = settled;
    this.#socket = new WebSocket(address, "ringway.v1.json");
    this.#socket.onopen = opened;
    this.#socket.onclose = ({ code }) => closed(code);
    this.#socket.onmessage = ({ data }) => {
      this.#receivedAt = Date.now();
      for (const line of String(data).split("\n")) {
        if (line.trim() === "") continue;
        const packet = JSON.parse(line);
        if (packet.id) this.#answered(packet);
        else pushed(packet);
      }
      settled();
    };
  }

  get isIdle() {
    return this.#waiting.size === 0;
  }

  /** How long the server has said nothing. */
  get silentMs() {
    return Date.now() - this.#receivedAt;
  }

  /** Whether a command has waited for its reply for too long. */
  get isStuck() {
    return [...this.#waiting.values()].some(({ until }) => until < Date.now());
  }

  /** Sends a command; the promise gives the reply, or throws `Refused` or `Lost`. */
  request(command) {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, until: Date.now() + REPLY_TIMEOUT_MS });
      this.write({ id, ...command });
    });
  }

  /** Sends a command unless one of that name waits for its reply. */
  once(name, command, done = () => {}, refused = () => {}) {
    if (this.#named.has(name)) return;
    this.#named.add(name);
    this.request(command)
      .then(done, (error) => {
        if (error instanceof Refused) refused(error);
      })
      .finally(() => {
        this.#named.delete(name);
        this.#settled();
      });
  }

  /** Sends a command that has no reply. */
  write(command) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(command));
  }

  /** Closes the socket without a further word to anybody; what waits is `Lost`. */
  end() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(1000);
    this.#settled = () => {};
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new Lost());
  }

  #answered(packet) {
    const waiting = this.#waiting.get(packet.id);
    this.#waiting.delete(packet.id);
    if (packet.error) waiting?.reject(new Refused(packet.error));
    else waiting?.resolve(packet);
  }
}
