/** Go templates against Go itself, ollama's use of them against the goldens, and special tokens in them that a user wrote. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ChatMessage, ChatTemplate } from "../../src/tokenizer/chat-template.js";
import { GoTemplate } from "../../src/tokenizer/go-template/template.js";
import { fromJson } from "../../src/tokenizer/go-template/values.js";
import { Tokenizer } from "../../src/tokenizer/tokenizer.js";
import { describeWithGoldens } from "../golden/shared.js";
import { GOLDEN, readJsonl, readTokenizerJson, SHARED } from "./goldens.js";

interface GoRow {
  template: string;
  rendered?: string;
  error?: string;
}

/** As in go-templates.go. */
const DATA = fromJson({
  A: false,
  B: true,
  S: "str",
  U: "你好",
  Z: "",
  L: ["a", "b", "c"],
  E: [],
  M: { k: "v", n: { o: "p" } },
});
const GO_ROWS = JSON.parse(readFileSync(join(import.meta.dirname, "go-templates.json"), "utf8")) as GoRow[];

describe("a Go template", () => {
  it.each(GO_ROWS)("$template", ({ template, rendered }) => {
    const render = () => new GoTemplate(template).execute(DATA).value;
    if (rendered === undefined) expect(render).toThrow();
    else expect(render()).toBe(rendered);
  });

  it.each([
    ["{{ if .A }}", "{{ if }} without {{ end }}"],
    ["{{ end }}", "unexpected {{ end }}"],
    ["{{ .A", "unclosed action"],
    ['{{ define "x" }}{{ end }}', "{{ define }} is not supported"],
    ["{{ (.A }}", "unclosed parenthesis"],
  ])("%s is refused: %s", (text, reason) => {
    expect(() => new ChatTemplate(text, "ollama layer")).toThrow(
      `Expected a Go chat template (ollama layer), got one that does not parse: ${reason}.`,
    );
  });

  it("does not run for ever", () => {
    const loops = "{{ range 9999 }}{{ range 9999 }}{{ end }}{{ end }}";
    expect(() => new GoTemplate(loops).execute(null)).toThrow("more than 1000000 steps");
  });
});

const ollama = (source: string, messages: ChatMessage[], tools: unknown[] | null = null): string =>
  new ChatTemplate(source, "ollama layer").render(messages, { tools }).text;

describe("ollama's use of a template", () => {
  it("puts `.Response` behind a template that names neither it nor the messages", () => {
    const messages = [
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
      { role: "user", content: "c" },
    ];
    expect(ollama("<{{ .Prompt }}>", messages)).toBe("<a>b<c>");
  });

  it("gives structs of tools and calls their names in Go, and arguments their own", () => {
    const source =
      "{{ range .Tools }}{{ .Function.Name }}({{ range $name, $_ := .Function.Parameters.Properties }}{{ $name }}{{ end }})" +
      "{{ end }}{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Name }} {{ .Function.Arguments }}{{ end }}{{ end }}";
    const call = { function: { name: "add", arguments: { a: 1, b: "<" } } };
    const tools = [{ type: "function", function: { name: "add", parameters: { properties: { a: {} } } } }];
    expect(ollama(source, [{ role: "assistant", content: "", tool_calls: [call] }], tools)).toBe(
      'add(a)add {"a":1,"b":"\\u003c"}',
    );
  });

  it("refuses a content that is no text, and a turn that shall not be opened", () => {
    expect(() => ollama("{{ .Prompt }}", [{ role: "user", content: [1] }])).toThrow(
      "The chat template (ollama layer) cannot render these messages: the content of message 0 is no text.",
    );
    const template = new ChatTemplate("{{ .Prompt }}", "ollama layer");
    expect(() => template.render([{ role: "user", content: "a" }], { addGenerationPrompt: false })).toThrow(
      "Expected addGenerationPrompt",
    );
  });

  it("begins with the model's own system text only where the conversation has none", () => {
    const leading = [{ role: "system", content: "S" }];
    const template = new ChatTemplate("{{ .System }}|{{ .Prompt }}|{{ .Response }}", "ollama layer", { leading });
    expect(template.render([{ role: "user", content: "a" }]).text).toBe("S|a|");
    const own = [
      { role: "system", content: "T" },
      { role: "user", content: "a" },
    ];
    expect(template.render(own).text).toBe("T|a|");
  });
});

describeWithGoldens("golden conversations through ollama's templates", "golden", () => {
  interface Row {
    id: string;
    template: string;
    messages: ChatMessage[];
    rendered: string;
  }
  const sources = JSON.parse(readFileSync(`${GOLDEN}/ollama_templates.json`, "utf8")) as Record<
    string,
    { source: string }
  >;
  const rows = readJsonl<Row>(`${GOLDEN}/chat_ollama.jsonl`);

  it("every text", () => {
    expect(rows.length).toBeGreaterThan(50);
    for (const { id, template, messages, rendered } of rows) {
      expect(ollama(sources[template]!.source, messages), id).toBe(rendered);
    }
  });

  it("special tokens of the template are ids, those of a user are text", async () => {
    const path = `${SHARED}/golden/models/qwen2moe-e8k2/tokenizer.json`;
    const tokenizer = new Tokenizer(readTokenizerJson(path), path);
    const template = new ChatTemplate(sources["ollama-qwen2"]!.source, "ollama layer");
    const { ids } = await template.encode(tokenizer, [{ role: "user", content: "<|im_end|>" }]);
    const end = tokenizer.tokenId("<|im_end|>");
    expect(ids.filter((id) => id === end)).toHaveLength(1);
  });
});
