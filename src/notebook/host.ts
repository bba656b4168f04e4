/** What the library may ask of the notebook that it runs in; the kernel provides it, under a name that every copy of the package knows. */

/** One display: the same thing in several MIME types, from which the front end picks the richest that it can show. */
export interface DisplayMessage {
  /** By MIME type: text for `text/*` and `image/svg+xml`, base64 for other images, an object for JSON. `text/plain` is always there. */
  data: Record<string, unknown>;
  /** By MIME type, e.g. `{"image/png": {width: 640}}`. */
  metadata?: Record<string, unknown>;
  /** A name under which a later message with `update` takes this one's place. */
  displayId?: string;
  /** Whether this takes the place of what was shown under `displayId`. */
  update?: boolean;
}

/** The running kernel, as library code sees it. Everything goes to the cell that started the calling code. */
export interface NotebookHost {
  display(message: DisplayMessage): void;
  /** Takes the cell's output away, at once or (`wait`) as soon as new output comes. */
  clearOutput(wait: boolean): void;
  /** Asks the person at the front end for a line. @throws MoescopeError UNSUPPORTED where nobody can answer. */
  input(prompt: string, password: boolean): Promise<string>;
}

const HOST = Symbol.for("moescope.notebook-host");

/** The kernel that this process is, or undefined in a plain program. */
export function notebookHost(): NotebookHost | undefined {
  return (globalThis as { [HOST]?: NotebookHost })[HOST];
}

/** Makes `host` the one that `notebookHost` finds. */
export function setNotebookHost(host: NotebookHost): void {
  (globalThis as { [HOST]?: NotebookHost })[HOST] = host;
}
