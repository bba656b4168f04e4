/** What `display` does in a kernel, in plain tslab and without either. */
import { createRequire } from "node:module";
import { afterEach, describe, expect, it, vi } from "vitest";
import { clearOutput, display, input, isNotebook } from "../../src/notebook/display.js";
import { type DisplayMessage, type NotebookHost, notebookHost, setNotebookHost } from "../../src/notebook/host.js";

const MESSAGE = { data: { "text/plain": "a table", "text/html": "<table></table>" }, displayId: "t" };

function fakeHost(): NotebookHost & { shown: DisplayMessage[]; cleared: boolean[] } {
  const shown: DisplayMessage[] = [];
  const cleared: boolean[] = [];
  return {
    shown,
    cleared,
    display: (message) => void shown.push(message),
    clearOutput: (wait) => void cleared.push(wait),
    input: async (prompt) => `answer to ${prompt}`,
  };
}

describe("display", () => {
  afterEach(() => {
    setNotebookHost(undefined as unknown as NotebookHost);
    vi.restoreAllMocks();
  });

  it("sends one message with all MIME types to the kernel", async () => {
    const host = fakeHost();
    setNotebookHost(host);
    display(MESSAGE);
    clearOutput(true);
    expect(host.shown).toEqual([MESSAGE]);
    expect(host.cleared).toEqual([true]);
    expect(await input("name")).toBe("answer to name");
    expect(isNotebook()).toBe(true);
  });

  it("prints the plain text where there is no notebook", async () => {
    const write = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    display(MESSAGE);
    clearOutput();
    expect(write.mock.calls.map(([text]) => text)).toEqual(["a table\n"]);
    expect(isNotebook()).toBe(false);
    expect(notebookHost()).toBeUndefined();
    await expect(input("name")).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });

  it("goes through plain tslab where that runs the cell", () => {
    const { cache } = createRequire(import.meta.url);
    const sent: unknown[] = [];
    const file = "/somewhere/tslab/dist/jupyter.js";
    cache[file] = {
      exports: { lastWriteDisplayData: (content: object, update: boolean) => sent.push([content, update]) },
    } as NodeJS.Module;
    display({ ...MESSAGE, update: true });
    delete cache[file];
    expect(sent).toEqual([[{ data: MESSAGE.data, metadata: {}, transient: { display_id: "t" } }, true]]);
  });

  it("refuses what a front end could not show", () => {
    expect(() => display({ data: { "text/html": "<b>" } })).toThrow(
      "Expected text under text/plain in a display, got text/html.",
    );
    expect(() => display({ data: { "text/plain": "x" }, update: true })).toThrow("displayId");
  });
});
