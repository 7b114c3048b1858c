// Elements are made here, and never from text that is read as HTML: names of files are data.

/**
 * Makes an element. Attributes with a function are listeners; true and false set an attribute or leave it out.
 * Children are elements, texts, or arrays of them; null and false are left out.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "readOnly")
      element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** Makes these the children of an element, and leaves alone those that are in their place: a reader may press one of them. */
export function fill(parent, children) {
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let at = parent.firstChild;
  for (const child of children) {
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
}

/** A text that keeps its direction to itself. */
export const name = (text) => h("bdi", {}, shown(text));

/** Returns a name as people see it: signs in place of characters that show nothing or turn around what is beside them. */
export function shown(text) {
  return text
    .replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/\u007f/g, "\u2421")
    .replace(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\u2028\u2029]/gu, "\ufffd");
}

/** Returns the last segment of a path as in a URL, decoded. Bytes that are no UTF-8 become U+FFFD. */
export function baseOf(href) {
  const segment = href.replace(/\/$/, "").split("/").pop();
  try {
    return decodeURIComponent(segment);
  } catch {
    const bytes = segment.replace(/%[0-9a-f]{2}|[^%]+/gi, (part) => part); // escapes of any bytes
    const codes = [];
    for (const part of bytes.match(/%[0-9a-f]{2}|[^%]/gi) ?? []) {
      if (part.length === 3) codes.push(parseInt(part.slice(1), 16));
      else codes.push(...new TextEncoder().encode(part));
    }
    return new TextDecoder().decode(Uint8Array.from(codes));
  }
}

const plain = /[A-Za-z0-9\-._~$&+=@]/; // of a segment, as the server writes it

/** Returns a segment as the server writes it in a path. */
export function segmentOf(text) {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase())
    .replace(/%(24|26|2B|3D|40)/g, decodeURIComponent);
}

/** Returns a path as the server writes it: people and programs write the same bytes of a link in other ways. */
export function canonical(href) {
  return href.replace(/%(?![0-9a-f]{2})/gi, "%25").replace(/%[0-9a-f]{2}|[^%]/giu, (c) => {
    if (c.length < 3) return c === "/" || plain.test(c) ? c : segmentOf(c);
    const char = String.fromCharCode(parseInt(c.slice(1), 16));
    return plain.test(char) ? char : c.toUpperCase();
  });
}

/** Returns the collection of a path, with its slash at the end. */
export const parentOf = (href) => href.replace(/[^/]*\/?$/, "");

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Returns a number of bytes as people read it. */
export function size(bytes) {
  let n = bytes,
    i = 0;
  while (n >= 999.5 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return `${i === 0 || n >= 9.95 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Returns a date in the language and the time zone of the reader, or "". */
export function date(text) {
  const d = new Date(text);
  return !text || Number.isNaN(d.getTime()) ? "" : dates.format(d);
}

/** Copies a text for the reader, also where the connection is not one that browsers trust. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = h("textarea", { value: text, class: "hidden" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
