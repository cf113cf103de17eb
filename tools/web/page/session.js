// Who is signed in in this tab: user, device and tokens, renewed in time.
//
// All of it lives in the tab's sessionStorage: it survives a reload, ends with the tab, and two tabs can be two people
// (or two devices of one), each with its own device id. One exchange of the refresh token runs at a time, because the
// server takes a second one for theft. Unsent messages lie beside it, under the user they belong to.

const KEY = "ringway.session";
const OUTBOX_KEY = "ringway.outbox";
/** A token that ends within this time is not used any more. */
const SPARE_MS = 30_000;

/** The server does not take the tokens any more: somebody has to sign in. */
export class SignedOut extends Error {}

/** A text nobody guesses; `crypto.randomUUID` is missing where a page is served over plain HTTP. */
export function randomText(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const read = (key) => JSON.parse(sessionStorage.getItem(key) ?? "null");

export class Session {
  #data = read(KEY);
  #renewing = null;

  get uid() {
    return this.#data?.uid ?? "";
  }

  get device() {
    return this.#data?.device ?? "";
  }

  /** Takes the answer to a sign-in or to an exchange. */
  open(grant, device) {
    const now = Date.now();
    this.#data = {
      uid: grant.uid,
      device,
      access: grant.access_token,
      refresh: grant.refresh_token,
      endsAt: now + grant.expires_in * 1000,
      // Early enough that a server that is away for a while does not cost the session.
      renewAt: now + grant.expires_in * 750,
      // The same exchange asked again after a lost answer gets the same answer.
      exchange: randomText(16),
    };
    sessionStorage.setItem(KEY, JSON.stringify(this.#data));
  }

  close() {
    this.#data = null;
    sessionStorage.removeItem(KEY);
  }

  /** The server said that the token is no longer good. */
  expire() {
    if (this.#data) this.#data.endsAt = 0;
  }

  get isDue() {
    return this.#data !== null && Date.now() >= this.#data.renewAt;
  }

  /**
   * A token that is good for a while.
   * @throws {SignedOut} when there is none to be had; other errors are the network's.
   */
  async token() {
    if (!this.#data) throw new SignedOut();
    if (Date.now() > this.#data.endsAt - SPARE_MS) await this.renew();
    return this.#data.access;
  }

  /** Exchanges the refresh token. */
  renew() {
    this.#renewing ??= this.#exchange().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #exchange() {
    const before = this.#data;
    if (!before) throw new SignedOut();
    const response = await fetch("/v1/auth/refresh", {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": before.exchange },
      body: JSON.stringify({ refresh_token: before.refresh }),
    });
    if (response.status === 401) throw new SignedOut();
    if (!response.ok) throw new Error(`the token was not renewed: ${response.status}`);
    if (this.#data === before) this.open(await response.json(), before.device);
  }

  /** Unsent messages that this tab kept for the user. */
  unsent() {
    const saved = read(OUTBOX_KEY);
    return saved?.uid === this.uid ? saved.entries : [];
  }

  keepUnsent(entries) {
    if (entries.length > 0) sessionStorage.setItem(OUTBOX_KEY, JSON.stringify({ uid: this.uid, entries }));
    else sessionStorage.removeItem(OUTBOX_KEY);
  }
}
