// All that this device knows: conversations by id, and the outbox. Packets go in by `handle`; what the connection has
// to ask and to tell comes out of `resumePoints`, `gaps`, `unacknowledged` and `untoldReads`. Pure: `now` is an argument.

import { Conversation } from "./conversation.js";
import { Outbox } from "./outbox.js";

/** How long a live message may wait for the one before it until that is asked for. */
export const HOLE_WAIT_MS = 300;
/** After a `sync` that brought nothing although there is more. */
const SYNC_AGAIN_MS = 2000;
/** How long somebody is shown as typing. */
export const TYPING_MS = 5000;
/** Bytes of resume points in one `connect`: they leave room for the token within the server's 64 KiB. */
const RESUME_BYTES_MAX = 40 * 1024;

/** The id of the conversation of two users. */
export const p2pId = (a, b) => (a < b ? `p2p:${a}:${b}` : `p2p:${b}:${a}`);

export class Store {
  constructor(me, saved = []) {
    this.me = me;
    this.conversations = new Map();
    this.outbox = new Outbox(saved);
    /** The conversation that is looked at. */
    this.open = "";
    /** The list has to be read anew: something came of a conversation that is not in it, or one was joined. */
    this.listStale = true;
    /** Conversation with a hole → when to ask for what is missing. */
    this.holes = new Map();
    for (const { conv } of saved) this.conversation(conv);
  }

  /** The conversation of that id, made when it is new. */
  conversation(id) {
    let conversation = this.conversations.get(id);
    if (!conversation) {
      conversation = new Conversation(id, this.me);
      this.conversations.set(id, conversation);
    }
    return conversation;
  }

  /** Takes a push. Those of kinds that it does not know are passed over. */
  handle(packet, now) {
    if (packet.message) this.#offer(packet.message, now);
    for (const message of packet.messages?.items ?? []) this.#offer(message, now);
    if (packet.receipt) this.conversations.get(packet.receipt.conv)?.receipt(packet.receipt);
    if (packet.typing) this.conversations.get(packet.typing.conv)?.typing.set(packet.typing.uid, now + TYPING_MS);
    if (packet.resync) this.conversation(packet.resync.conv).wanted = true;
    if (packet.changed) {
      this.#setLeft(this.conversation(packet.changed.conv), packet.changed.kind === "left");
      this.listStale = true;
    }
  }

  #offer(message, now, own = false) {
    if (!this.conversations.has(message.conv)) this.listStale = true;
    const conversation = this.conversation(message.conv);
    conversation.left = false;
    conversation.offer(message, own);
    // An earlier life of the page sent it; the backlog says so before the answer to its repeat does.
    if (message.from === this.me) this.outbox.remove(message.conv, message.client_msg_id);
    if (message.conv !== this.open) conversation.trim();
    this.#noteHole(conversation, now);
  }

  #noteHole(conversation, now) {
    if (conversation.ahead.size === 0) this.holes.delete(conversation.id);
    else if (!this.holes.has(conversation.id)) this.holes.set(conversation.id, now + HOLE_WAIT_MS);
  }

  /** Takes the answer to an entry of the outbox: the message has its number. */
  sent(entry, { conv, msg_id, epoch, seq, ts }, now) {
    this.outbox.remove(entry.conv, entry.id);
    const { id: client_msg_id, body } = entry;
    this.#offer({ conv, msg_id, epoch, seq, ts, from: this.me, client_msg_id, type: "text", body }, now, true);
  }

  /** Takes the answer to `connect`. */
  connected(recovered = {}) {
    for (const [id, complete] of Object.entries(recovered)) this.conversation(id).wanted = !complete;
    this.listStale = true;
  }

  /** Takes the whole list of the server. A group that is not in it is one that the user is no longer in. */
  listed(entries) {
    const ids = new Set(entries.map((entry) => entry.conv));
    for (const entry of entries) this.conversation(entry.conv).listed(entry);
    for (const conversation of this.conversations.values()) {
      if (conversation.isGroup && !ids.has(conversation.id)) this.#setLeft(conversation, true);
    }
  }

  #setLeft(conversation, left) {
    conversation.left = left;
    if (left) this.#giveUp(conversation);
  }

  /** Takes the reply to the `sync` of a gap. */
  synced(conversation, page, now) {
    conversation.mergeUp(page);
    for (const message of page.items) {
      if (message.from === this.me) this.outbox.remove(conversation.id, message.client_msg_id);
    }
    this.holes.delete(conversation.id);
    // Nothing came although there is more: the server cannot read it yet.
    if (page.more && page.items.length === 0) this.holes.set(conversation.id, now + SYNC_AGAIN_MS);
    else this.#noteHole(conversation, now);
  }

  /** Takes the refusal of a `sync`: for a while, or for good. */
  syncRefused(conversation, { temporary, retryAfterMs }, now) {
    if (temporary) this.holes.set(conversation.id, now + Math.max(retryAfterMs, HOLE_WAIT_MS));
    else this.#giveUp(conversation);
  }

  #giveUp(conversation) {
    conversation.giveUp();
    this.holes.delete(conversation.id);
  }

  /** Conversations whose `sync` is due. */
  gaps(now) {
    return [...this.conversations.values()].filter(
      (conversation) => conversation.needsSync && !conversation.left && (this.holes.get(conversation.id) ?? 0) <= now,
    );
  }

  /** Conversation → place to go on from, of those used last as many as fit. */
  resumePoints() {
    const points = {};
    let bytes = 0;
    for (const conversation of this.sorted()) {
      bytes += conversation.id.length + 48;
      if (bytes > RESUME_BYTES_MAX) break;
      if (conversation.point && !conversation.left) points[conversation.id] = conversation.point;
    }
    return points;
  }

  /** Points to acknowledge, of groups or of the others; each is given once. */
  unacknowledged({ groups }) {
    const points = [];
    for (const conversation of this.conversations.values()) {
      if (conversation.isGroup !== groups || conversation.high <= conversation.acknowledged) continue;
      conversation.acknowledged = conversation.high;
      points.push({ conv: conversation.id, epoch: conversation.items.at(-1).epoch, seq: conversation.high });
    }
    return points;
  }

  /** Read marks that the server has not confirmed. */
  untoldReads() {
    return [...this.conversations.values()].filter(({ read, readTold, left }) => read > readTold && !left);
  }

  /** Takes back who stopped typing; whether that changed anything. */
  expireTyping(now) {
    let changed = false;
    for (const { typing } of this.conversations.values()) {
      for (const [uid, until] of typing) {
        if (until <= now) changed = typing.delete(uid);
      }
    }
    return changed;
  }

  /** When something last happened in a conversation. */
  lastTime(conversation) {
    return this.outbox.of(conversation.id).at(-1)?.ts ?? conversation.last?.ts ?? 0;
  }

  /** Conversations, the one used last first. */
  sorted() {
    const times = new Map([...this.conversations.values()].map((one) => [one, this.lastTime(one)]));
    return [...times.keys()].sort((a, b) => times.get(b) - times.get(a) || a.name.localeCompare(b.name));
  }

  get unread() {
    return [...this.conversations.values()].reduce((sum, { unread, left }) => sum + (left ? 0 : unread), 0);
  }
}
