/** What was run in this session, as `history_request` asks for it. */
import type { Content } from "./wire/protocol.js";

interface Entry {
  line: number;
  code: string;
  output: string | null;
}

/** The only session that we know: the one that runs. */
const SESSION = 1;

export class History {
  readonly #entries: Entry[] = [];

  add(line: number, code: string, output: string | null): void {
    this.#entries.push({ line, code, output });
  }

  /** The `history` of a reply: [session, line, code] or, with `output`, [session, line, [code, output]]. */
  answer(request: Content): unknown[] {
    const { output = false } = request as { output?: boolean };
    return this.#select(request).map(({ line, code, output: text }) => [SESSION, line, output ? [code, text] : code]);
  }

  #select(request: Content): Entry[] {
    const {
      hist_access_type: kind,
      n,
      start,
      stop,
      pattern,
      unique,
      session,
    } = request as {
      hist_access_type?: "tail" | "range" | "search";
      n?: number | null;
      start?: number;
      stop?: number | null;
      pattern?: string;
      unique?: boolean;
      session?: number;
    };
    if (kind === "range") {
      // 0 is the session that runs; others are gone with their processes.
      if (session !== undefined && session !== 0 && session !== SESSION) return [];
      return this.#entries.filter(({ line }) => line >= (start ?? 0) && line < (stop ?? Number.POSITIVE_INFINITY));
    }
    let found = this.#entries;
    if (kind === "search") {
      const glob = globPattern(pattern ?? "*");
      found = found.filter(({ code }) => glob.test(code));
      if (unique) found = found.filter(({ code }, i) => found.findLastIndex((other) => other.code === code) === i);
    }
    return n === undefined || n === null ? found : found.slice(-n || found.length);
  }
}

/** A pattern with `*` and `?`, which covers the whole text. */
function globPattern(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, "[^]*")
    .replace(/\?/g, "[^]");
  return new RegExp(`^${source}$`);
}
