// A link to the server, kept up: connect, resume, send what waits, close holes, come back.
//
//              token, address        connected
//   stopped ─► connecting ─────────────────────► connected
//      ▲          ▲   │ failed                       │ closed, silent, drained
//      │          │   ▼                              ▼
//      └──────── waiting ◄───────────────────────────┘      a close code that forbids it leads to stopped
//
// Owns the link and the timers. Everything it learns goes into the store; after each change `changed` is called.
// Whatever is in flight when a link ends is still known to the store and the outbox.

import { Link, Refused } from "./link.js";
import { sendCommand } from "./outbox.js";
import { comesBack, waitMs } from "./reconnect.js";
import { SignedOut } from "./session.js";
import { HOLE_WAIT_MS } from "./store.js";

const CONNECT_TIMEOUT_MS = 10_000;
/** How long a server that drains may take to answer what is in flight. */
const LEAVE_MS = 3000;
const TICK_MS = 1000;
/** How long points are gathered before they are acknowledged. */
const ACK_DELAY_MS = 100;
/** The same of groups, where nobody waits for one member's mark, and a part of what follows, so that not all say it at once. */
const GROUP_ACK_DELAY_MS = 1000;
const GROUP_ACK_SPREAD_MS = 250;

export class Connection {
  state = { kind: "stopped", code: 0 };
  #store;
  #api;
  #session;
  #changed;
  #signedOut;
  #link = null;
  #attempt = 0;
  /** Counts links and tries: what belongs to an older one is ignored. */
  #turn = 0;
  #timer = 0;
  #tick = 0;
  /** Of what points are being gathered: of groups (true), of the others (false). */
  #gathering = new Set();
  #groupAckMs = GROUP_ACK_DELAY_MS + Math.random() * GROUP_ACK_SPREAD_MS;
  #holeTimer = 0;
  #heartbeatMs = 30_000;
  #leave = null;
  #address = "";
  #renewedForRefusal = false;
  #listing = false;

  constructor({ store, api, session, changed, signedOut }) {
    this.#store = store;
    this.#api = api;
    this.#session = session;
    this.#changed = changed;
    this.#signedOut = signedOut;
  }

  start() {
    this.#tick ||= setInterval(() => this.#onTick(), TICK_MS);
    this.#open();
  }

  stop(code = 1000) {
    clearInterval(this.#tick);
    this.#tick = 0;
    this.#drop();
    this.#set({ kind: "stopped", code });
  }

  /** Ends the wait, or the pause after a close that said to stay away. */
  tryNow() {
    if (this.state.kind === "waiting" || this.state.kind === "stopped") this.start();
  }

  get isUp() {
    return this.state.kind === "connected" && !this.#leave;
  }

  /** Sends what the outbox has ready. */
  flush() {
    if (!this.isUp) return;
    for (const { entry, retry } of this.#store.outbox.take(Date.now())) {
      const done = ({ sent }) => this.#store.sent(entry, sent, Date.now());
      const refused = (error) => this.#store.outbox.refused(entry, error, Date.now());
      this.#link.once(`send ${entry.conv}`, sendCommand(entry, retry), done, refused);
    }
  }

  /** Tells the others that the user is typing. */
  typing(conv) {
    if (this.isUp) this.#link.write({ typing: { conv } });
  }

  /** Tells the server what was read and not told yet. A mark that it refuses is not told again: a higher one follows. */
  tellReads() {
    if (!this.isUp) return;
    for (const conversation of this.#store.untoldReads()) {
      const { id, read } = conversation;
      const done = () => {
        conversation.readTold = Math.max(conversation.readTold, read);
      };
      this.#link.once(`read ${id}`, { read: { conv: id, seq: read } }, done, done);
    }
  }

  async #open() {
    this.#drop();
    const turn = this.#turn;
    this.#set({ kind: "connecting" });
    try {
      const addresses = this.#address ? [this.#address] : await this.#api.locate();
      const token = await this.#session.token();
      if (turn !== this.#turn) return;
      this.#address = "";
      if (addresses.length === 0) this.#wait();
      else this.#dial(addresses[Math.floor(Math.random() * addresses.length)], token);
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error instanceof SignedOut) this.#signedOut();
      else this.#wait();
    }
  }

  #dial(address, token) {
    this.#timer = setTimeout(() => this.#ended(1006), CONNECT_TIMEOUT_MS);
    const { device } = this.#session;
    this.#link = new Link(address, {
      opened: () => {
        const connect = { token, device, platform: "web", resume: this.#store.resumePoints() };
        // A refusal that is not a close is one of the page's own words: nothing to gain by repeating it.
        const refused = (error) => this.#ended(error.temporary ? 1006 : 3500);
        this.#link.once("connect", { connect }, ({ connected }) => this.#connected(connected), refused);
      },
      pushed: (packet) => {
        if (packet.reconnect) this.#leave = { until: Date.now() + LEAVE_MS, ...packet.reconnect };
        else this.#store.handle(packet, Date.now());
      },
      settled: () => this.#settle(),
      closed: (code) => this.#ended(code),
    });
  }

  #connected({ heartbeat_s, recovered }) {
    clearTimeout(this.#timer);
    this.#attempt = 0;
    this.#renewedForRefusal = false;
    this.#heartbeatMs = (heartbeat_s || 30) * 1000;
    this.#store.connected(recovered);
    this.#set({ kind: "connected" });
  }

  /** After every change: whatever that gave reason to send. */
  #settle() {
    if (this.isUp) {
      this.#list();
      this.#closeHoles();
      this.tellReads();
      this.flush();
      this.#acknowledge(false, ACK_DELAY_MS);
      this.#acknowledge(true, this.#groupAckMs);
    }
    this.#leaveWhenIdle();
    this.#changed();
  }

  /** Acknowledges what is there after this time; what comes meanwhile goes with it. */
  #acknowledge(groups, delayMs) {
    if (this.#gathering.has(groups)) return;
    this.#gathering.add(groups);
    setTimeout(() => {
      this.#gathering.delete(groups);
      if (!this.isUp) return;
      for (const ack of this.#store.unacknowledged({ groups })) this.#link.write({ ack });
    }, delayMs);
  }

  async #list() {
    if (!this.#store.listStale || this.#listing) return;
    this.#listing = true;
    this.#store.listStale = false;
    try {
      const entries = [];
      for (let more = true; more; ) {
        const after = entries.at(-1)?.conv;
        const { conversations } = await this.#link.request({ conversations: after ? { after } : {} });
        entries.push(...conversations.items);
        more = conversations.more && conversations.items.length > 0;
      }
      this.#store.listed(entries);
    } catch {
      // Asked again with the next tick, or after the next connect.
      this.#store.listStale = true;
    }
    this.#listing = false;
    this.#changed();
  }

  #closeHoles() {
    for (const conversation of this.#store.gaps(Date.now())) {
      const sync = { conv: conversation.id, after_seq: conversation.syncFrom };
      const done = ({ messages }) => this.#store.synced(conversation, messages, Date.now());
      const refused = (error) => this.#store.syncRefused(conversation, error, Date.now());
      this.#link.once(`sync ${conversation.id}`, { sync }, done, refused);
    }
    if (this.#store.holes.size === 0 || this.#holeTimer) return;
    this.#holeTimer = setTimeout(() => {
      this.#holeTimer = 0;
      if (this.isUp) this.#closeHoles();
    }, HOLE_WAIT_MS);
  }

  #onTick() {
    const link = this.#link;
    if (this.state.kind === "connected") {
      if (link.isStuck || link.silentMs > this.#heartbeatMs + CONNECT_TIMEOUT_MS) return this.#ended(1006);
      if (link.silentMs > this.#heartbeatMs) link.once("ping", { ping: {} });
      if (this.#session.isDue) this.#renew();
      this.#settle();
    }
    if (this.#store.expireTyping(Date.now()) || this.state.kind === "waiting") this.#changed();
  }

  async #renew() {
    try {
      await this.#session.renew();
      const token = await this.#session.token();
      if (this.isUp) this.#link.once("refresh", { refresh: { token } });
    } catch (error) {
      // Anything else is tried again with the next tick: the token still holds.
      if (error instanceof SignedOut) this.#signedOut();
    }
  }

  /** The server drains: go once nothing is in flight any more, or after a while. */
  #leaveWhenIdle() {
    const leave = this.#leave;
    if (!leave || (!this.#link.isIdle && Date.now() < leave.until)) return;
    this.#drop();
    this.#address = leave.to?.[0] ?? "";
    this.#wait(leave.after_ms);
  }

  #ended(code) {
    const afterMs = this.#leave?.after_ms;
    this.#drop();
    if (code === 4502) return this.#signedOut();
    if (code === 4001) this.#session.expire();
    // A refused token may be made good once, by a fresh one.
    const mayRenew = code === 3501 && !this.#renewedForRefusal;
    if (mayRenew) {
      this.#renewedForRefusal = true;
      this.#session.expire();
    } else if (code === 3501) {
      return this.#signedOut();
    }
    if (mayRenew || comesBack(code)) return this.#wait(afterMs);
    this.stop(code);
  }

  #wait(atLeastMs = 0) {
    const delay = Math.max(atLeastMs, waitMs(this.#attempt, Math.random()));
    this.#attempt += 1;
    this.#set({ kind: "waiting", until: Date.now() + delay });
    this.#timer = setTimeout(() => this.#open(), delay);
  }

  /** Forgets the link, if there is one, and everything that waits for it. */
  #drop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#leave = null;
    this.#link?.end();
    this.#link = null;
    this.#store.outbox.lost();
  }

  #set(state) {
    this.state = state;
    this.#changed();
  }
}
