// The messages of the open conversation: the newest ones, more when scrolled up, own unsent ones at the end.
//
// Only a stretch of what the store holds is in the document. Nodes are kept by key, so a message that changes from
// pending to sent to read stays the same node and is announced once. `overflow-anchor` is off: the log keeps its place.

import { make, reconcile, setText } from "./dom.js";
import { dayOf, textOf, timeOf } from "./text.js";

/** Messages added at a time, and shown at first. */
export const STEP = 50;
/** Past it, the top is let go again once the reader is back at the end. */
const SHOWN_MAX = 200;
/** Nearer than this to an end counts as being there, in pixels. */
const NEAR = 80;
const FOLLOWS_MS = 5 * 60_000;

const STATES = {
  pending: ["◷", "Waiting to be sent"],
  failed: ["!", "Not sent"],
  sent: ["✓", "Sent"],
  delivered: ["✓✓", "Delivered"],
  read: ["✓✓", "Read"],
};

export class MessageLog {
  #node;
  #store;
  #actions;
  #nodes = new Map();
  #conversation = null;
  /** The lowest sequence that is shown. */
  #from = 0;
  #atEnd = true;
  /** Up to here the reader has been at the end. */
  #seen = 0;

  /** `actions`: `retry(entry)`, `discard(entry)`, `scrolled()`. */
  constructor(node, store, actions) {
    this.#node = node;
    this.#store = store;
    this.#actions = actions;
    node.replaceChildren();
    node.onscroll = () => {
      this.#atEnd = node.scrollHeight - node.scrollTop - node.clientHeight < NEAR;
      actions.scrolled();
    };
  }

  show(conversation) {
    this.#conversation = conversation;
    this.#from = Infinity;
    this.#atEnd = true;
    this.#nodes.clear();
    // What was there before is not news.
    this.#node.setAttribute("aria-busy", "true");
    this.#node.replaceChildren();
  }

  get isAtEnd() {
    return this.#atEnd;
  }

  /** How many of the others' messages came while the reader was further up. */
  get unseen() {
    const { items, me } = this.#conversation;
    return items.filter(({ seq, from }) => seq > this.#seen && from !== me).length;
  }

  /** Whether what is above should be read from the server. */
  get wantsOlder() {
    const { low, more } = this.#conversation;
    return more && this.#isNearTop && (low === 0 || this.#from <= low);
  }

  get #isNearTop() {
    return this.#node.scrollTop < NEAR;
  }

  toEnd() {
    this.#atEnd = true;
    this.render();
  }

  render() {
    const { items, high, low } = this.#conversation;
    if (this.#atEnd && high - this.#from > SHOWN_MAX) this.#from = high - STEP + 1;
    else if (items.length > 0 && this.#isNearTop && this.#from > low) this.#from = Math.max(low, Math.min(this.#from, high + 1) - STEP);
    const first = [...this.#node.children].find((node) => node.offsetTop + node.offsetHeight > this.#node.scrollTop);
    const before = first?.offsetTop ?? 0;
    reconcile(this.#node, this.#nodes, this.#rows(items), (row) => this.#create(row), (node, row) => this.#update(node, row));
    if (this.#atEnd) {
      this.#node.scrollTop = this.#node.scrollHeight;
      this.#seen = high;
    } else if (first?.isConnected && first.offsetTop !== before) {
      this.#node.scrollTop += first.offsetTop - before;
    }
    if (items.length > 0) requestAnimationFrame(() => this.#node.removeAttribute("aria-busy"));
  }

  #rows(items) {
    const { id, me, ahead } = this.#conversation;
    const own = [...ahead.values()].filter(({ from }) => from === me);
    const unsent = this.#store.outbox.of(id).map((entry) => {
      return { from: me, client_msg_id: entry.id, body: entry.body, ts: entry.ts, entry };
    });
    const rows = [];
    let previous = null;
    const shown = items.slice(Math.max(0, this.#from - (items[0]?.seq ?? 0)));
    for (const message of [...shown, ...own, ...unsent]) {
      const day = dayOf(message.ts);
      const isNewDay = !previous || dayOf(previous.ts) !== day;
      if (isNewDay) rows.push({ key: `day ${day}`, day });
      const follows = !isNewDay && previous.from === message.from && message.ts - previous.ts < FOLLOWS_MS;
      // An own message keeps its node when it gets its number.
      const key = message.from === me ? `own ${message.client_msg_id}` : message.msg_id;
      rows.push({ key, message, follows });
      previous = message;
    }
    return rows;
  }

  #create({ day, message }) {
    if (day) return make("p", { class: "day", text: day });
    const { from, type, ts } = message;
    if (type === "system") return make("p", { class: "notice", dir: "auto", text: textOf(message) });
    const isOwn = from === this.#store.me;
    const body = make("p", { class: "body", dir: "auto" });
    body.textContent = textOf(message, (text) => {
      setText(body, text);
      this.render();
    });
    const node = make("article", { class: isOwn ? "message own" : "message" });
    node.append(make("p", { class: isOwn ? "from visually-hidden" : "from", text: isOwn ? "You" : from }), body);
    const footer = make("footer", {}, make("time", { datetime: new Date(ts).toISOString(), text: timeOf(ts) }));
    if (isOwn) {
      footer.append(make("span", { class: "mark", "aria-hidden": "true" }), make("span", { class: "visually-hidden" }));
    }
    node.append(footer);
    return node;
  }

  #update(node, { message, follows }) {
    if (!message || message.type === "system") return;
    node.classList.toggle("follows", follows);
    if (message.from !== this.#store.me) return;
    const { entry } = message;
    const state = entry ? entry.state : this.#conversation.reached(message);
    const error = entry?.state === "failed" ? entry.error : "";
    if (node.dataset.state === state && node.dataset.error === error) return;
    Object.assign(node.dataset, { state, error });
    const [sign, words] = STATES[state];
    const [, mark, label] = node.querySelector("footer").children;
    setText(mark, sign);
    setText(label, words);
    node.querySelector(".failure")?.remove();
    if (state === "failed") node.append(this.#failure(entry));
  }

  #failure(entry) {
    const retry = make("button", { type: "button", text: "Retry", onclick: () => this.#actions.retry(entry) });
    const discard = make("button", { type: "button", text: "Discard", onclick: () => this.#actions.discard(entry) });
    return make("p", { class: "failure" }, `Not sent: ${entry.error} `, retry, " ", discard);
  }
}
