import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A server of files as the hub is one: ETag, Range, redirects to a store, a commit; and it can break off. */
export interface FileServer {
  url: string;
  files: Map<string, Buffer>;
  asked: { path: string; range: string | undefined; authorization: string | undefined }[];
  /** Ends the next answers after so many bytes. */
  breakAfter: number[];
  /** Status of the next answers. */
  statuses: number[];
  close(): Promise<void>;
}

export async function startFileServer(files: Record<string, Buffer> = {}): Promise<FileServer> {
  const state: Omit<FileServer, "url" | "close"> = {
    files: new Map(Object.entries(files)),
    ...{ asked: [], breakAfter: [], statuses: [] },
  };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url!);
    const { range, authorization } = request.headers;
    state.asked.push({ path, range, authorization });
    const status = state.statuses.shift();
    const bytes = state.files.get(path);
    if (status !== undefined) return response.writeHead(status).end("no");
    if (bytes === undefined) return response.writeHead(404).end("not found");
    const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
    const isSame = request.headers["if-range"] === undefined || request.headers["if-range"] === etag;
    const start = range === undefined || !isSame ? 0 : Number(/bytes=(\d+)-/.exec(range)![1]);
    if (start > bytes.length) return response.writeHead(416).end();
    const rest = bytes.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, {
      ...{ etag, "content-length": rest.length, "x-repo-commit": "c0ffee", "accept-ranges": "bytes" },
    });
    const end = state.breakAfter.shift();
    if (end === undefined) return response.end(rest);
    response.write(rest.subarray(0, end), () => setTimeout(() => request.socket.destroy(), 100));
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = (): Promise<void> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return Object.assign(state, { url, close });
}
