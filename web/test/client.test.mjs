// The tests of client.js, against the real server: node --test, with its URL in PAGE_URL.
import assert from "node:assert/strict";
import test from "node:test";
import { ConflictError, create, HTTPError, read, remove, retryWithMerge, save, tagOf, UnsureError } from "../client.js";

const base = process.env.PAGE_URL;
assert.ok(base, "PAGE_URL is not set");
let count = 0;
const fresh = () => `${base}/client-${process.pid}-${count++}.txt`;

test("a file is made, read, saved and removed, each under its condition", async () => {
  const url = fresh();
  const made = await create(url, "one\n");
  assert.equal(made.created, true);
  const first = await read(url);
  assert.deepEqual([first.text, first.etag, first.isText, first.exists], ["one\n", made.etag, true, true]);
  assert.equal(first.etag, await tagOf("one\n"));
  const saved = await save(url, "two\n", { ifMatch: first.etag });
  assert.equal(saved.created, false);
  await assert.rejects(remove(url, { ifMatch: first.etag }), ConflictError);
  assert.equal((await read(url)).text, "two\n");
  await remove(url, { ifMatch: saved.etag });
  await assert.rejects(read(url), (e) => e instanceof HTTPError && !(e instanceof ConflictError) && e.status === 404);
});

test("a conflict has the version that is there", async () => {
  const url = fresh();
  const { etag } = await create(url, "base");
  const theirs = await save(url, "theirs", { ifMatch: etag });
  await assert.rejects(save(url, "mine", { ifMatch: etag }), (e) => {
    assert.ok(e instanceof ConflictError);
    assert.deepEqual([e.status, e.etag, e.exists, e.size], [412, theirs.etag, true, 6]);
    assert.deepEqual([e.current.text, e.current.etag], ["theirs", theirs.etag]);
    return true;
  });
  assert.equal((await read(url)).text, "theirs");
});

test("a conflict with nothing says so", async () => {
  const url = fresh();
  const { etag } = await create(url, "base");
  await remove(url, { ifMatch: etag });
  await assert.rejects(save(url, "mine", { ifMatch: etag }), (e) => {
    assert.ok(e instanceof ConflictError);
    assert.deepEqual([e.exists, e.etag, e.current], [false, "", null]);
    return true;
  });
  await assert.rejects(read(url), { status: 404 });
});

test("a file that is there is not made again", async () => {
  const url = fresh();
  await create(url, "one");
  await assert.rejects(create(url, "two"), (e) => e instanceof ConflictError && e.current.text === "one");
});

test("a write without an ETag is refused before anything is sent", async () => {
  const fetch = () => assert.fail("a request was sent");
  for (const ifMatch of [undefined, "", "*", "x", 'W/"x"']) {
    await assert.rejects(save(base + "/x", "x", { ifMatch, fetch }), TypeError);
    await assert.rejects(remove(base + "/x", { ifMatch, fetch }), TypeError);
  }
});

test("bytes that are no text stay as they are", async () => {
  const url = fresh();
  const bytes = Uint8Array.from([0xff, 0, 0xfe, 13, 10]);
  await create(url, bytes);
  const got = await read(url);
  assert.deepEqual([...got.bytes], [...bytes]);
  assert.equal(got.isText, false);
  const marked = fresh();
  await create(marked, "\ufeffx\r\n");
  assert.equal((await read(marked)).text, "\ufeffx\r\n");
});

test("ten writers at once lose no line", async () => {
  const url = fresh();
  await create(url, "");
  const lines = Array.from({ length: 10 }, (_, i) => `line ${i}\n`);
  await Promise.all(lines.map((line) => retryWithMerge(url, (v) => v.text + line, { attempts: 100 })));
  assert.deepEqual((await read(url)).text.split(/(?<=\n)/).sort(), lines);
});

test("an edit gets what a merge needs", async () => {
  const url = fresh();
  const { etag } = await create(url, "base");
  const seen = [];
  const result = await retryWithMerge(url, async (current, conflict) => {
    seen.push([current.text, conflict && [conflict.base.text, conflict.mine, conflict.theirs.text]]);
    if (!conflict) await save(url, "theirs", { ifMatch: etag });
    return conflict ? `${conflict.theirs.text}+${conflict.mine}` : "mine";
  });
  assert.deepEqual(seen, [
    ["base", undefined],
    ["theirs", ["base", "mine", "theirs"]],
  ]);
  assert.deepEqual([result.text, result.attempts], ["theirs+mine", 2]);
  assert.deepEqual([(await read(url)).text, (await read(url)).etag], [result.text, result.etag]);
});

test("an edit may make a file, and may be given up", async () => {
  const url = fresh();
  assert.equal((await retryWithMerge(url, () => null)).exists, false);
  await assert.rejects(read(url), { status: 404 });
  await retryWithMerge(url, (v) => (v.exists ? null : "new"));
  assert.equal((await retryWithMerge(url, (v) => (v.exists ? null : "again"))).text, "new");
});

test("a file that is removed between is made again by the edit alone", async () => {
  const url = fresh();
  const { etag } = await create(url, "base");
  const got = await retryWithMerge(url, async (current, conflict) => {
    if (!conflict) await remove(url, { ifMatch: etag });
    return current.exists ? "mine" : "anew";
  });
  assert.equal(got.text, "anew");
});

test("attempts end", async () => {
  const url = fresh();
  let { etag } = await create(url, "0");
  let n = 0;
  await assert.rejects(
    retryWithMerge(
      url,
      async () => {
        ({ etag } = await save(url, `${++n}`, { ifMatch: etag }));
        return "mine";
      },
      { attempts: 3 },
    ),
    ConflictError,
  );
  assert.equal(n, 3);
});

test("a write without an answer is unsure, and not sent twice", async () => {
  let sent = 0;
  const fetch = async () => {
    sent++;
    throw new TypeError("the line broke");
  };
  await assert.rejects(
    save(base + "/x", "x", { ifMatch: '"x"', fetch }),
    (e) => e instanceof UnsureError && e.cause instanceof TypeError,
  );
  const failing = async () => {
    sent++;
    return new Response("{}", { status: 500 });
  };
  await assert.rejects(save(base + "/x", "x", { ifMatch: '"x"', fetch: failing }), UnsureError);
  assert.equal(sent, 2);
});

test("a busy server is asked again when it says", async () => {
  let sent = 0;
  const fetch = async () =>
    ++sent < 3
      ? new Response("", { status: 503, headers: { "Retry-After": "0" } })
      : new Response(null, { status: 204, headers: { ETag: '"y"' } });
  assert.equal((await save(base + "/x", "x", { ifMatch: '"x"', fetch })).etag, '"y"');
  assert.equal(sent, 3);
  const never = async () => {
    sent++;
    return new Response("", { status: 503, headers: { "Retry-After": "0" } });
  };
  await assert.rejects(read(base + "/x", { fetch: never }), (e) => e.status === 503);
  assert.equal(sent, 7);
  const stop = new AbortController();
  const long = async () => {
    stop.abort();
    return new Response("", { status: 503, headers: { "Retry-After": "9" } });
  };
  await assert.rejects(read(base + "/x", { fetch: long, signal: stop.signal }), { name: "AbortError" });
});
