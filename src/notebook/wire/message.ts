/** Jupyter's wire format: routing identities, a delimiter, a signature, and four parts of JSON. */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { MoescopeError } from "../../errors.js";
import type { Connection, Content, Header } from "./protocol.js";

const DELIMITER = Buffer.from("<IDS|MSG>");
const PROTOCOL_VERSION = "5.3";

export interface WireMessage {
  identities: Uint8Array[];
  header: Header;
  parent: Header | Record<string, never>;
  content: Content;
}

/** Signs and checks messages of one connection. */
export class MessageFormat {
  readonly #key: string;
  readonly #algorithm: string;
  readonly #session: string = randomUUID();

  constructor({ key, signature_scheme }: Pick<Connection, "key" | "signature_scheme">) {
    this.#key = key;
    this.#algorithm = (signature_scheme || "hmac-sha256").replace(/^hmac-/, "");
  }

  /** Frames of a message of ours. `parent`: the header that it answers. */
  encode(
    identities: readonly Uint8Array[],
    msgType: string,
    content: Content,
    parent: Header | undefined,
  ): (Uint8Array | string)[] {
    const header: Header = {
      msg_id: randomUUID(),
      msg_type: msgType,
      session: parent?.session ?? this.#session,
      username: parent?.username ?? "kernel",
      date: new Date().toISOString(),
      version: PROTOCOL_VERSION,
    };
    return this.encodeParts(identities, header, parent ?? {}, content);
  }

  /** Frames of a message whose header is given. */
  encodeParts(
    identities: readonly Uint8Array[],
    header: Header,
    parent: Header | Record<string, never>,
    content: Content,
  ): (Uint8Array | string)[] {
    const parts = [header, parent, {}, content].map((part) => JSON.stringify(part));
    return [...identities, DELIMITER, this.#sign(parts), ...parts];
  }

  /** A message from its frames. @throws MoescopeError BAD_FILE for frames that are no message, or that another key signed */
  decode(frames: readonly Uint8Array[]): WireMessage {
    const at = frames.findIndex((frame) => DELIMITER.equals(frame));
    const [signature, ...parts] = frames.slice(at + 1);
    if (at < 0 || signature === undefined || parts.length < 4) {
      throw new MoescopeError("BAD_FILE", `Expected a Jupyter message of six parts, got ${frames.length} frames.`);
    }
    const expected = Buffer.from(this.#sign(parts.slice(0, 4)));
    if (this.#key !== "" && !(signature.length === expected.length && timingSafeEqual(signature, expected))) {
      throw new MoescopeError(
        "BAD_FILE",
        "Expected a message signed with the key of this connection, got another signature.",
      );
    }
    const json = (part: Uint8Array | undefined) => JSON.parse(Buffer.from(part!).toString("utf8"));
    return {
      identities: frames.slice(0, at),
      header: json(parts[0]),
      parent: json(parts[1]),
      content: json(parts[3]),
    };
  }

  #sign(parts: readonly (string | Uint8Array)[]): string {
    if (this.#key === "") return "";
    const hmac = createHmac(this.#algorithm, this.#key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("hex");
  }
}
