// Merges two versions of a text, line by line (diff3).
import { diff3Merge } from "node-diff3";

self.onmessage = ({ data: { mine, base, theirs } }) => {
  try {
    const regions = diff3Merge(mine, base, theirs, { excludeFalseConflicts: true }).map((r) =>
      r.ok ? { ok: r.ok } : { mine: r.conflict.a, base: r.conflict.o, theirs: r.conflict.b },
    );
    self.postMessage({ regions });
  } catch (error) {
    self.postMessage({ error: error.message });
  }
};
