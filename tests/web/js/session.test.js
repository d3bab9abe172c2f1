import assert from "node:assert/strict";
import { test } from "node:test";

import { createSession } from "../../../aegisd/web/dashboard/js/session.js";

const OPEN = { authentication: false, name: null, role: "admin" };
const VIEWER = { authentication: true, name: "ops", role: "viewer" };
const NONE = { authentication: true, name: null, role: null };
const refuse = (status) => Promise.reject(Object.assign(new Error("no"), { status }));

function sessionOf(answers) {
  const ask = (method) => () => {
    const answer = answers[method];
    return typeof answer === "number" ? refuse(answer) : Promise.resolve({ data: answer });
  };
  const api = { get: ask("get"), post: ask("post"), delete: ask("delete") };
  const session = createSession(api);
  const told = [];
  session.onChange((now) => told.push(now));
  return { session, told };
}

test("nobody is in before the daemon has said who this is", () => {
  const { isKnown, in: isIn } = sessionOf({}).session.get();
  assert.deepEqual([isKnown, isIn], [false, false]);
});

test("without tokens everybody is in, and an admin", async () => {
  const { session } = sessionOf({ get: OPEN });
  await session.load();
  const { in: isIn, admin, authentication } = session.get();
  assert.deepEqual([isIn, admin, authentication], [true, true, false]);
});

test("with tokens and no login it is told that nobody is in", async () => {
  const { session, told } = sessionOf({ get: NONE });
  await session.load();
  assert.deepEqual(told.map(({ isKnown, in: isIn }) => [isKnown, isIn]), [[true, false]]);
});

test("a login brings name and role, and a viewer is no admin", async () => {
  const { session } = sessionOf({ get: NONE, post: VIEWER });
  await session.load();
  await session.login("secret");
  const { in: isIn, admin, name, role } = session.get();
  assert.deepEqual([isIn, admin, name, role], [true, false, "ops", "viewer"]);
});

test("a wrong token raises and ends nothing", async () => {
  const { session, told } = sessionOf({ get: NONE, post: 401 });
  await session.load();
  await assert.rejects(session.login("wrong"), { status: 401 });
  assert.equal(told.length, 1);
});

test("any answer of 401 to another part ends the session, and is raised there, too", async () => {
  const answers = { get: VIEWER };
  const { session, told } = sessionOf(answers);
  await session.load();
  answers.get = 401;
  await assert.rejects(session.api.get("api/status"), { status: 401 });
  assert.deepEqual(told.map(({ in: isIn }) => isIn), [true, false]);
});

test("an answer of 503 ends no session", async () => {
  const answers = { get: VIEWER };
  const { session } = sessionOf(answers);
  await session.load();
  answers.get = 503;
  await assert.rejects(session.api.get("api/status"), { status: 503 });
  assert.equal(session.get().in, true);
});

test("a logout ends the session", async () => {
  const { session } = sessionOf({ get: VIEWER, delete: NONE });
  await session.load();
  await session.logout();
  assert.equal(session.get().in, false);
});
