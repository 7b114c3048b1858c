// What takes a while, and is asked for again meanwhile: a late answer must not undo a newer one.

/**
 * Returns a function that has something done, and never twice at once. All who call it while that goes on share the next
 * time, which begins at its end: the answer of this time may be older than what they have changed.
 */
export function inTurn(run) {
  let now = Promise.resolve(),
    next = null;
  return () =>
    (next ??= now
      .catch(() => {})
      .then(() => {
        next = null;
        return (now = run());
      }));
}

/** Returns a function that does something, and nothing more while that goes on: the reader may press twice. */
export function once(run) {
  let busy = false;
  return async (...values) => {
    if (busy) return;
    busy = true;
    try {
      await run(...values);
    } finally {
      busy = false;
    }
  };
}

/** Returns a function by which each who asks learns later whether nobody has asked since. */
export function last() {
  let count = 0;
  return () => {
    const mine = ++count;
    return () => mine === count;
  };
}

/** For what the reader asks to see: it is shown if nothing else was asked for before it has come. */
export const wanted = last();
