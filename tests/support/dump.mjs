// Everything a service has at rest, as whoever took its disks would see it, and a search through it.
//
// A dump is read twice: every file of the state folder byte by byte (so that freed pages and write-ahead logs count), and every SQLite
// database cell by cell (as a long value is cut into pages that need not be neighbours).
import { copyFile, mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** Below this a needle would be found by chance in megabytes of ciphertext; in base64 it would be shorter still. */
const SHORTEST_NEEDLE = 6;

/**
 * Reads a service: its state folder and its log. Gives `{ parts: [{ where, bytes }], rows }`, where `where` names file, or database, table, row
 * and column; and `rows` is a `Map` from database file to its tables, each an array of rows.
 */
export async function dump(service) {
  const parts = [];
  const rows = new Map();
  for (const file of await filesBelow(service.persist)) {
    const where = relative(service.persist, file);
    const bytes = await readFile(file).catch(ignoreMissing);
    // A team's object that has gone to sleep since has closed its database, and some files of it are gone.
    if (bytes === undefined) continue;
    parts.push({ where, bytes });
    // Names of files are at rest, too.
    parts.push({ where: `name of ${where}`, bytes: Buffer.from(where) });
    if (!file.endsWith(".sqlite")) continue;
    const tables = await readDatabase(file);
    rows.set(where, tables);
    for (const [table, all] of Object.entries(tables)) {
      all.forEach((row, index) => {
        for (const [column, value] of Object.entries(row)) {
          if (value !== null) parts.push({ where: `${where}: ${table}[${index}].${column}`, bytes: Buffer.from(value instanceof Uint8Array ? value : String(value)) });
        }
      });
    }
  }
  parts.push({ where: "the Worker's log", bytes: Buffer.from(service.log.join("\n")) });
  return { parts, rows };
}

/**
 * Looks for needles, each `{ name, bytes }` or a string, as they are and in the encodings they could hide in: hexadecimal, base64 and
 * base64url at each of the three alignments and both once more inside of either, UTF-16, percent-encoding and JSON escapes. Gives the hits as `{ name, form, where }`.
 */
export function search({ parts }, needles) {
  const hits = [];
  for (const needle of needles) {
    const { name, bytes } = typeof needle === "string" ? { name: needle, bytes: Buffer.from(needle) } : needle;
    if (bytes.length < SHORTEST_NEEDLE) throw new Error(`the needle ${name} is too short to be told from chance`);
    for (const { form, pattern } of forms(Buffer.from(bytes))) {
      for (const { where, bytes: haystack } of parts) {
        if (haystack.includes(pattern)) hits.push({ name, form, where });
      }
    }
  }
  return hits;
}

/**
 * Needles for a content of any size: of a text its longest lines, of other bytes pieces from all over. A copy of a part of it, in whichever
 * framing, is found by one of these.
 */
export function needlesOf(name, content, { count = 16 } = {}) {
  const bytes = Buffer.from(content);
  const lines = isText(bytes) ? [...new Set(bytes.toString("utf8").split("\n").map((line) => line.trim()))].filter((line) => line.length >= 12) : [];
  if (lines.length > 0) {
    const longest = lines.sort((a, b) => b.length - a.length).slice(0, count);
    return longest.map((line) => ({ name: `${name}: "${line.slice(0, 40)}"`, bytes: Buffer.from(line) }));
  }
  const length = Math.min(24, bytes.length);
  const last = bytes.length - length;
  const starts = [...new Set(Array.from({ length: count }, (_, index) => Math.floor((last * index) / (count - 1))))];
  return starts.map((start) => ({ name: `${name}: bytes ${start} to ${start + length}`, bytes: bytes.subarray(start, start + length) }));
}

/**
 * What a service knows, as plain values that `assert.deepEqual` compares: all rows of D1 and of the Durable Objects, the keys of KV, the keys
 * and etags of R2. Two of these that are equal mean that nothing was written in between, but which proofs of possession were used: that is
 * written for every request of a device, also for one that is refused then.
 */
export async function snapshot(service) {
  const databases = {};
  for (const store of ["d1", "do"]) {
    for (const file of await filesBelow(join(service.persist, store))) {
      if (!file.endsWith(".sqlite") || basename(file) === "metadata.sqlite") continue;
      const { proofs, ...tables } = await readUnlessUnchanged(file);
      databases[relative(service.persist, file)] = tables;
    }
  }
  const kv = await service.mf.getKVNamespace("HANDSHAKES");
  const r2 = await service.mf.getR2Bucket("SNIPPETS");
  return {
    databases,
    kv: await pages((cursor) => kv.list({ cursor }), ({ keys }) => keys.map(({ name }) => name)),
    r2: await pages((cursor) => r2.list({ cursor }), ({ objects }) => objects.map(({ key, etag, size }) => ({ key, etag, size }))),
  };
}

/** What [`readDatabase`] gave last time, as long as nobody has written to the file or its write-ahead log. */
async function readUnlessUnchanged(file) {
  const stats = await Promise.all([file, `${file}-wal`].map((each) => stat(each, { bigint: true }).catch(ignoreMissing)));
  const version = stats.map((each) => each && `${each.ino} ${each.size} ${each.mtimeNs}`).join();
  if (lastRead.get(file)?.version !== version) lastRead.set(file, { version, tables: await readDatabase(file) });
  return lastRead.get(file).tables;
}
const lastRead = new Map();

/** All rows of all tables of a database that another process has open. Works on a copy, which takes no lock and disturbs nothing. */
export async function readDatabase(file) {
  const folder = await mkdtemp(join(tmpdir(), "osmynt-database-"));
  try {
    const copy = join(folder, "copy.sqlite");
    await copyFile(file, copy);
    await copyFile(`${file}-wal`, `${copy}-wal`).catch(ignoreMissing);
    const database = new DatabaseSync(copy);
    try {
      // Tables of the platform itself (`_cf_…`) hold alarms and counters, not what the service wrote.
      const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY name").all();
      return Object.fromEntries(
        tables.map(({ name }) => {
          const statement = database.prepare(`SELECT * FROM "${name.replaceAll('"', '""')}"`);
          statement.setReadBigInts(true);
          return [name, statement.all().map((row) => ({ ...row }))];
        }),
      );
    } finally {
      database.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Every encoding of these bytes that is looked for. */
function forms(bytes) {
  const found = [
    { form: "as it is", pattern: bytes },
    { form: "hexadecimal", pattern: Buffer.from(bytes.toString("hex")) },
    { form: "hexadecimal", pattern: Buffer.from(bytes.toString("hex").toUpperCase()) },
  ];
  // A sealed box stands as base64url in a statement's payload, which is base64url again.
  const once = base64Forms(bytes);
  found.push(...once, ...once.flatMap(({ form, pattern }) => base64Forms(pattern).map((twice) => ({ ...twice, form: `${form} in ${twice.form}` }))));
  if (isText(bytes)) {
    const text = bytes.toString("utf8");
    found.push({ form: "UTF-16", pattern: Buffer.from(text, "utf16le") });
    found.push({ form: "UTF-16, big-endian", pattern: Buffer.from(text, "utf16le").swap16() });
    found.push({ form: "percent-encoding", pattern: Buffer.from(encodeURIComponent(text)) });
    found.push({ form: "JSON", pattern: Buffer.from(JSON.stringify(text).slice(1, -1)) });
  }
  const seen = new Set();
  return found.filter(({ pattern }) => !seen.has(pattern.toString("latin1")) && seen.add(pattern.toString("latin1")));
}

function base64Forms(bytes) {
  return ["base64", "base64url"].flatMap((alphabet) =>
    [0, 1, 2].map((alignment) => ({ form: `${alphabet} at ${alignment}`, pattern: Buffer.from(base64Inside(bytes, alignment, alphabet)) })),
  );
}

/** The characters that every base64 text has which contains these bytes at an offset of `alignment` modulo 3. */
function base64Inside(bytes, alignment, alphabet) {
  const encoded = Buffer.concat([Buffer.alloc(alignment), bytes]).toString(alphabet).replace(/=+$/, "");
  // The first and last characters also hold bits of what stands before and after.
  const from = Math.ceil((alignment * 8) / 6);
  const to = Math.floor(((alignment + bytes.length) * 8) / 6);
  return encoded.slice(from, to);
}

function isText(bytes) {
  const text = bytes.toString("utf8");
  return !text.includes("\0") && !text.includes("\uFFFD") && Buffer.from(text).equals(bytes);
}

async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(ignoreMissing);
  return (entries ?? []).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
}

async function pages(list, items) {
  const all = [];
  for (let cursor; ; ) {
    const page = await list(cursor);
    all.push(...items(page));
    if (!page.truncated && page.list_complete !== false) return all;
    cursor = page.cursor;
  }
}

function ignoreMissing(error) {
  if (error.code !== "ENOENT") throw error;
}
