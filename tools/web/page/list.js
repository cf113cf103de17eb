// The list of conversations, as buttons: name, last message, time, unread count.

import { avatar, make, reconcile, setText } from "./dom.js";
import { shortTimeOf, textOf } from "./text.js";

const PREVIEW_LENGTH = 120;

export class ConversationList {
  #node;
  #store;
  #choose;
  #nodes = new Map();

  constructor(node, store, choose) {
    this.#node = node;
    this.#store = store;
    this.#choose = choose;
    node.replaceChildren();
  }

  render() {
    const shown = this.#store.sorted().filter(({ id, left }) => !left || id === this.#store.open);
    const rows = shown.map((conversation) => ({ key: `${conversation.id} ${conversation.name}`, conversation }));
    reconcile(this.#node, this.#nodes, rows, (row) => this.#create(row), (node, row) => this.#update(node, row));
  }

  #create({ conversation }) {
    const button = make("button", { type: "button", class: "entry", onclick: () => this.#choose(conversation.id) });
    const text = make("span", { class: "entry-text" });
    text.append(make("span", { class: "name", text: conversation.name, dir: "auto" }), " ", make("time"), " ");
    text.append(make("span", { class: "preview", dir: "auto" }), " ", make("span", { class: "unread" }));
    button.append(avatar(conversation.name), text);
    return make("li", {}, button);
  }

  #update(node, { conversation }) {
    const button = node.firstChild;
    const isOpen = conversation.id === this.#store.open;
    if (isOpen) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    const [name, time, preview, unread] = button.lastChild.children;
    const at = this.#store.lastTime(conversation);
    setText(time, at ? shortTimeOf(at) : "");
    setText(preview, this.#preview(conversation, (text) => setText(preview, text)));
    unread.hidden = conversation.unread === 0;
    setText(unread, conversation.unread > 99 ? "99+" : String(conversation.unread || ""));
    unread.setAttribute("aria-label", `${conversation.unread} unread`);
    name.classList.toggle("has-unread", conversation.unread > 0);
  }

  #preview(conversation, later) {
    const [typing] = conversation.typing.keys();
    if (typing) return conversation.isGroup ? `${typing} is typing…` : "typing…";
    const pending = this.#store.outbox.of(conversation.id).at(-1);
    const last = pending ? { ...pending, type: "text", from: this.#store.me } : conversation.last;
    if (!last) return conversation.left ? "You are no longer a member" : "No messages yet";
    const who = last.from === this.#store.me ? "You: " : conversation.isGroup && last.from ? `${last.from}: ` : "";
    const short = (text) => (who + text).slice(0, PREVIEW_LENGTH);
    return short(textOf(last, (text) => later(short(text))));
  }
}
