// The smallest font that a browser takes: an A that is two ems wide.
function table(...numbers) { // [size in bytes, value]...
  const bytes = [];
  for (const [size, value] of numbers) {
    for (let i = size - 1; i >= 0; i--) bytes.push(Math.floor(value / 2 ** (8 * i)) & 0xff);
  }
  return Buffer.from(bytes);
}
const u16 = (...all) => all.map((n) => [2, n & 0xffff]);
const u32 = (...all) => all.map((n) => [4, n >>> 0]);

const square = table(...u16(1, 0, 0, 900, 900, 3, 0), [1, 1], [1, 1], [1, 1], [1, 1],
  ...u16(0, 0, 900, 0), ...u16(0, 900, 0, -900));
const loca = table(...u16(0, 0, square.length / 2));
const cmap = table(...u16(0, 1, 3, 1), ...u32(12),
  ...u16(4, 32, 0, 4, 4, 1, 0, 65, 0xffff, 0, 65, 0xffff, 1 - 65, 1, 0, 0));
const name = table(...u16(0, 0, 6));
const head = table(...u32(0x00010000, 0x00010000, 0, 0x5f0f3cf5), ...u16(3, 1000), ...u32(0, 0, 0, 0),
  ...u16(0, 0, 900, 900, 0, 8, 2, 0, 0));
const hhea = table(...u32(0x00010000), ...u16(900, -100, 0, 2000, 0, 0, 900, 1, 0, 0, 0, 0, 0, 0, 0, 2));
const hmtx = table(...u16(500, 0, 2000, 0));
const maxp = table(...u32(0x00010000), ...u16(2, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0));
const post = table(...u32(0x00030000, 0), ...u16(0, 0), ...u32(0, 0, 0, 0, 0));
const os2 = table(...u16(4, 1000, 400, 5, 0), ...u16(...Array(10).fill(100)), ...u16(0), ...u32(0, 0), ...u16(0),
  ...u32(1, 0, 0, 0), ...u32(0x20202020), ...u16(0x40, 65, 65, 900, -100, 0, 900, 100), ...u32(1, 0),
  ...u16(500, 700, 0, 32, 1));

/** Returns the font. */
export function font() {
  const tables = { "OS/2": os2, cmap, glyf: square, head, hhea, hmtx, loca, maxp, name, post };
  const names = Object.keys(tables).sort();
  let at = 12 + 16 * names.length;
  const directory = [], bodies = [];
  for (const tag of names) {
    const data = tables[tag], padded = Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
    let sum = 0;
    for (let i = 0; i < padded.length; i += 4) sum = (sum + padded.readUInt32BE(i)) >>> 0;
    directory.push(Buffer.from(tag), table(...u32(sum, at, data.length)));
    bodies.push(padded);
    at += padded.length;
  }
  const header = table(...u32(0x00010000), ...u16(names.length, 128, 3, names.length * 16 - 128));
  return Buffer.concat([header, ...directory, ...bodies]);
}
