// One person at the page, in a browser context of their own: what they do, and what they see, by roles and labels.

import assert from "node:assert/strict";

const LIMIT_MS = 20_000;

/** Waits until `read()` gives what is expected. */
export async function until(read, expected, what) {
  let seen;
  for (const end = Date.now() + LIMIT_MS; Date.now() < end; ) {
    seen = await read();
    try {
      assert.deepEqual(seen, expected);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  assert.deepEqual(seen, expected, what);
}

export class Person {
  /** Errors of the page's console; those of a server that is away are told apart by `offline`. */
  errors = [];
  /** Whether the server is away on purpose, so that failed connections are no error. */
  offline = false;

  static async arrive(browser, name, server, options) {
    const person = new Person();
    person.name = name;
    person.context = await browser.newContext(options);
    person.context.setDefaultTimeout(LIMIT_MS);
    person.page = await person.context.newPage();
    person.listen(person.page);
    await person.page.goto(server.ready.page);
    await person.page.getByLabel("User").fill(name);
    await person.page.getByLabel("Password").fill(`${name}-secret`);
    await person.page.getByRole("button", { name: "Register" }).click();
    await person.isConnected();
    return person;
  }

  listen(page) {
    page.on("pageerror", (error) => this.errors.push(`${this.name}: ${error.stack}`));
    page.on("console", (line) => {
      if (line.type() !== "error") return;
      const isConnection = /WebSocket connection to|net::ERR_/.test(line.text());
      if (!(isConnection && this.offline)) this.errors.push(`${this.name}: ${line.text()} ${line.location().url}`);
    });
  }

  async isConnected() {
    await until(() => this.page.locator("#status-text").textContent(), "Connected", `${this.name} connects`);
  }

  entry(name) {
    return this.page.getByRole("navigation").getByRole("button", { name: new RegExp(`^\\S* ?${name}`) });
  }

  /** Opens a conversation of the list; on a narrow page the list has to be gone back to. */
  async open(name) {
    const back = this.page.getByRole("button", { name: "Back to the conversations" });
    if (await back.isVisible()) await back.click();
    await this.entry(name).click();
    await this.page.getByRole("heading", { name }).waitFor();
  }

  async startChat(person) {
    await this.page.getByRole("button", { name: "New chat" }).click();
    await this.page.getByLabel("Person").fill(person);
    await this.page.getByRole("button", { name: "Start" }).click();
    await this.page.getByRole("heading", { name: person }).waitFor();
  }

  async say(text) {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
    await this.page.keyboard.press("Enter");
  }

  /** Messages that are shown, as texts, from the top. */
  messages() {
    return this.page.getByRole("log").locator("article .body").allTextContents();
  }

  async sees(text) {
    await this.page.getByRole("log").getByText(text, { exact: true }).waitFor();
  }

  /** Waits for what is written beside an own message: `Sent`, `Delivered`, … */
  async sawState(text, state) {
    const article = this.page.getByRole("article").filter({ hasText: text });
    await until(() => article.locator("footer span").last().textContent(), state, `${this.name}'s ${text}`);
  }

  /** Sends messages to somebody from a socket beside the page, as a new user. */
  async seed(user, to, texts) {
    await this.page.evaluate(async ({ user, to, texts }) => {
      const body = JSON.stringify({ user, password: `${user}-secret`, device: "seed" });
      const headers = { "content-type": "application/json" };
      const grant = await (await fetch("/v1/auth/register", { method: "POST", headers, body })).json();
      const { items: [{ ws }] } = await (await fetch("/v1/locate")).json();
      const socket = new WebSocket(ws, "ringway.v1.json");
      await new Promise((resolve, reject) => {
        let sent = 0;
        socket.onopen = () => {
          const sends = texts.map((text, at) => ({ id: at + 2, send: { to: { user: to }, client_msg_id: `seed-${at}`, body: text } }));
          const connect = { id: 1, connect: { token: grant.access_token, device: "seed", platform: "web" } };
          socket.send([connect, ...sends].map((command) => JSON.stringify(command)).join("\n"));
        };
        socket.onmessage = ({ data }) => {
          for (const packet of data.split("\n").filter(Boolean).map((line) => JSON.parse(line))) {
            if (packet.error) reject(new Error(packet.error.message));
            if (packet.sent) sent += 1;
          }
          if (sent === texts.length) resolve();
        };
        socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
      });
      socket.close();
    }, { user, to, texts });
  }
}
