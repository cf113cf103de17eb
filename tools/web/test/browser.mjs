// The chat page in Chromium, used as people would, against a real `ringway up` that is killed in between.
//
//   RINGWAY_BIN=target/debug/ringway node tools/web/test/browser.mjs
//
// CHROMIUM names the browser, else one is looked for on the path; RINGWAY_ARTEFACTS is the folder for the screenshots.

import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { mkdir } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";

import { Person, until } from "./person.mjs";
import { Server } from "./server.mjs";

const BROWSERS = ["chromium-headless-shell", "chromium", "chromium-browser"];
const ARGUMENTS = [
  "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const SEEDED = Array.from({ length: 130 }, (_, at) => `Pebble ${at + 1}`);

function chromiumPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const places = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => BROWSERS.map((name) => join(folder, name)));
  const found = places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  assert.ok(found, `no Chromium on the path (looked for ${BROWSERS.join(", ")}): set CHROMIUM`);
  return found;
}

async function chromium() {
  try {
    return (await import("playwright-core")).chromium;
  } catch (cause) {
    throw new Error("playwright-core is missing: run `npm ci` in tools/web/test", { cause });
  }
}

const artefacts = resolve(process.env.RINGWAY_ARTEFACTS ?? "target/artefacts");
const shoot = (person, name) => person.page.screenshot({ path: join(artefacts, `${name}.png`) });

async function twoPeopleTalk({ alice, bob }) {
  await alice.startChat("bob");
  await alice.say("Hello Bob, are you coming on Saturday?");
  await alice.sawState("Hello Bob", "Delivered");
  await until(() => bob.entry("alice").getByLabel("1 unread").count(), 1, "bob sees one unread message");
  assert.equal(await bob.page.title(), "(1) Ringway");
  await shoot(bob, "bob-narrow-list");
  await bob.open("alice");
  await bob.sees("Hello Bob, are you coming on Saturday?");
  await alice.sawState("Hello Bob", "Read");
  await until(() => bob.page.title(), "Ringway", "nothing is unread any more");
  await bob.page.getByLabel("Message", { exact: true }).pressSequentially("Yes");
  await until(() => alice.page.locator("#typing").textContent(), "bob is typing…", "alice sees bob typing");
  await bob.say("Yes! I bring the rope.\nAnd the <b>chalk</b> – ¡olé!");
  await alice.sees("Yes! I bring the rope.\nAnd the <b>chalk</b> – ¡olé!");
}

async function aGroupTalks({ alice, bob, carol }) {
  await alice.page.getByRole("button", { name: "New group" }).click();
  const dialog = alice.page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("Climbers");
  await dialog.getByLabel("Members").fill("bob");
  await dialog.getByRole("button", { name: "Create" }).click();
  await alice.page.getByRole("heading", { name: "Climbers" }).waitFor();
  await alice.page.getByRole("button", { name: "Members" }).click();
  await dialog.getByLabel("Add members").fill("carol");
  await dialog.getByRole("button", { name: "Add" }).click();
  await dialog.getByRole("button", { name: "Remove carol" }).waitFor();
  await shoot(alice, "members");
  await dialog.getByRole("button", { name: "Close" }).click();
  await bob.open("Climbers");
  await carol.open("Climbers");
  const said = [];
  for (const person of [alice, bob, carol, alice]) {
    said.push(`${person.name} says number ${said.length + 1}`);
    await person.say(said.at(-1));
    for (const one of [alice, bob, carol]) await one.sees(said.at(-1));
  }
  for (const one of [alice, bob, carol]) await until(() => one.messages(), said, `${one.name} sees the same order`);
  await shoot(carol, "carol-dark");
  await carol.page.getByRole("button", { name: "Members" }).click();
  await carol.page.getByRole("button", { name: "Leave group" }).click();
  await alice.sees("carol left");
  await until(() => carol.entry("Climbers").count(), 0, "the group leaves carol's list");
}

async function historyComesByScrolling({ alice }) {
  await alice.seed("dave", "alice", SEEDED);
  await until(() => alice.entry("dave").getByLabel("130 unread").count(), 1, "all of dave's messages are unread");
  // After a reload the page knows nothing of them: they come from the server.
  await alice.page.reload();
  await alice.isConnected();
  await alice.open("dave");
  await alice.sees("Pebble 130");
  assert.ok((await alice.messages()).length < SEEDED.length, "at first only the newest are shown");
  await alice.page.getByRole("log").hover();
  await until(async () => {
    await alice.page.mouse.wheel(0, -2000);
    return (await alice.messages()).length;
  }, SEEDED.length, "scrolling up reaches the first message");
  assert.deepEqual(await alice.messages(), SEEDED);
  await alice.page.getByRole("button", { name: "Newest ↓" }).click();
  await until(() => alice.entry("dave").getByLabel("unread").isVisible(), false, "what was seen is read");
}

async function aKilledServerLosesNothing({ alice, bob }, server) {
  await alice.open("bob");
  await bob.open("alice");
  const before = await bob.messages();
  for (const person of [alice, bob]) person.offline = true;
  await server.end("SIGKILL");
  await until(() => alice.page.locator("#status-text").textContent(), "Reconnecting…", "alice sees that it is away");
  const meanwhile = ["Sent while the server was away", "And one more behind it"];
  for (const text of meanwhile) {
    await alice.say(text);
    await alice.sawState(text, "Waiting to be sent");
  }
  await shoot(alice, "alice-pending");
  await shoot(bob, "bob-narrow-reconnecting");
  await server.start();
  for (const person of [alice, bob]) await person.isConnected();
  for (const text of meanwhile) await alice.sawState(text, "Read");
  await bob.say("I am back too");
  await alice.sees("I am back too");
  const all = [...before, ...meanwhile, "I am back too"];
  for (const person of [alice, bob]) {
    await until(() => person.messages(), all, `${person.name} has each message once, in order`);
    person.offline = false;
  }
  await shoot(alice, "alice");
  await shoot(bob, "bob-narrow");
}

async function aRefusedMessageCanBeRetriedOrDiscarded({ alice }) {
  await alice.page.evaluate(() => {
    location.hash = encodeURIComponent("p2p:alice:nobody");
  });
  await alice.page.getByRole("heading", { name: "nobody" }).waitFor();
  await alice.say("Is anybody there?");
  await alice.sawState("Is anybody there?", "Not sent");
  await shoot(alice, "alice-failed");
  await alice.page.getByRole("button", { name: "Retry" }).click();
  await alice.sawState("Is anybody there?", "Not sent");
  await alice.page.getByRole("button", { name: "Discard" }).click();
  await until(() => alice.messages(), [], "a discarded message is gone");
}

async function theSameDeviceInAnotherTabPausesThisOne({ alice }) {
  const kept = await alice.page.evaluate(() => sessionStorage.getItem("ringway.session"));
  const other = await alice.context.newPage();
  alice.listen(other);
  await other.addInitScript((session) => sessionStorage.setItem("ringway.session", session), kept);
  await other.goto(alice.page.url());
  const words = () => alice.page.locator("#status-text").textContent();
  await until(async () => (await words()).includes("another tab"), true, "the first tab says why it is paused");
  await shoot(alice, "alice-paused");
  await alice.page.getByRole("button", { name: "Use this tab" }).click();
  await alice.isConnected();
  await other.getByRole("button", { name: "Use this tab" }).click();
  await until(async () => (await words()).includes("another tab"), true, "the tabs can take turns");
  await other.close();
}

async function whatIsUnsentSurvivesAReload({ alice, bob }) {
  await alice.open("bob");
  await alice.say("Written while paused");
  await alice.sawState("Written while paused", "Waiting to be sent");
  // The browser asks whether to leave with unsent messages.
  alice.page.once("dialog", (dialog) => dialog.accept());
  await alice.page.reload();
  await alice.isConnected();
  await bob.sees("Written while paused");
  await alice.sawState("Written while paused", "Read");
}

async function aDrainedServerIsComeBackTo({ alice, bob }, server) {
  for (const person of [alice, bob]) person.offline = true;
  assert.deepEqual(await server.end("SIGTERM"), [0, null], "the server ends in peace");
  await server.start();
  for (const person of [alice, bob]) await person.isConnected();
  await alice.say("Good morning again");
  await bob.sees("Good morning again");
  for (const person of [alice, bob]) person.offline = false;
}

async function anEndedTokenIsRenewed({ alice }) {
  await alice.page.evaluate(() => {
    const session = JSON.parse(sessionStorage.getItem("ringway.session"));
    sessionStorage.setItem("ringway.session", JSON.stringify({ ...session, endsAt: 0 }));
  });
  const renewed = alice.page.waitForResponse((response) => response.url().endsWith("/v1/auth/refresh"));
  await alice.page.reload();
  assert.equal((await renewed).status(), 200);
  await alice.isConnected();
}

async function signingOutAndInWorks({ bob }) {
  const back = bob.page.getByRole("button", { name: "Back to the conversations" });
  if (await back.isVisible()) await back.click();
  await bob.page.getByRole("button", { name: "Sign out" }).click();
  await bob.page.getByLabel("User").fill("bob");
  await bob.page.getByLabel("Password").fill("bob-secret");
  await shoot(bob, "sign-in");
  await bob.page.getByRole("button", { name: "Sign in" }).click();
  await bob.isConnected();
  await bob.entry("alice").waitFor();
}

const STEPS = [
  twoPeopleTalk, aGroupTalks, historyComesByScrolling, aKilledServerLosesNothing, aRefusedMessageCanBeRetriedOrDiscarded,
  theSameDeviceInAnotherTabPausesThisOne, whatIsUnsentSurvivesAReload, aDrainedServerIsComeBackTo, anEndedTokenIsRenewed,
  signingOutAndInWorks,
];

assert.ok(process.env.RINGWAY_BIN, "RINGWAY_BIN names the program to test");
await mkdir(artefacts, { recursive: true });
const server = new Server(resolve(process.env.RINGWAY_BIN));
let browser;
const people = {};
try {
  await server.start();
  browser = await (await chromium()).launch({ executablePath: chromiumPath(), args: ARGUMENTS });
  const narrow = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
  const wide = { viewport: { width: 1200, height: 780 } };
  people.alice = await Person.arrive(browser, "alice", server, wide);
  people.bob = await Person.arrive(browser, "bob", server, narrow);
  people.carol = await Person.arrive(browser, "carol", server, { ...wide, colorScheme: "dark" });
  for (const step of STEPS) {
    // Carol's page stays while the server is away.
    people.carol.offline = step === aKilledServerLosesNothing || step === aDrainedServerIsComeBackTo;
    await step(people, server);
    console.log(`ok  ${step.name}`);
  }
  await people.carol.isConnected();
  assert.deepEqual(Object.values(people).flatMap(({ errors }) => errors), [], "nothing is wrong in the consoles");
} catch (error) {
  for (const person of Object.values(people)) await shoot(person, `failed-${person.name}`).catch(() => {});
  console.error(server.log.slice(-40).join("\n"));
  console.error(Object.values(people).flatMap(({ errors }) => errors).join("\n"));
  throw error;
} finally {
  await browser?.close();
  await server.remove();
}
