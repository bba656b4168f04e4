/**
 * A chat through a Go template as ollama's server does it (ollama `template/template.go`): neighbours of one role are joined; a
 * template with `.Messages` gets them all, one with `.System`, `.Prompt` and `.Response` is run once a turn and, for the last,
 * cut off behind `.Response`.
 */
import type { ChatMessage } from "./chat-template.js";
import type { GoNode, Operand, Pipe } from "./go-template/parser.js";
import { GoTemplate } from "./go-template/template.js";
import { fromJson, GoObject, type GoValue, goJson } from "./go-template/values.js";
import { Text } from "./jinja/text.js";

const BETWEEN = "\n\n";
const RESPONSE: GoNode = {
  type: "action",
  pipe: { variables: [], assigns: false, commands: [[{ type: "path", start: "dot", fields: ["Response"] }]] },
};

export class OllamaTemplate {
  private readonly template: GoTemplate;

  /** Throws SyntaxError where the text is no Go template. */
  constructor(source: string) {
    const template = new GoTemplate(source);
    const isWhole = template.mentions("Messages") || template.mentions("Response");
    this.template = isWhole ? template : new GoTemplate([...template.nodes, RESPONSE]);
  }

  /** The prompt up to where the model goes on. Throws an Error that says what in the messages could not be used. */
  render(messages: readonly ChatMessage[], tools: readonly unknown[] | null = null): Text {
    const joined = joinNeighbours(messages);
    if (this.template.mentions("Messages")) {
      const system = joined.flatMap(({ role, text }) => (role === "system" ? [text] : []));
      return this.template.execute(
        record({
          System: Text.fromData(system.join(BETWEEN)),
          Messages: joined.map(asGo),
          Tools: (tools ?? []).map((tool) => withGoNames(fromJson(tool, "Tool"))),
          Response: Text.EMPTY,
        }),
      );
    }
    return this.renderTurns(joined);
  }

  private renderTurns(messages: readonly Joined[]): Text {
    const parts: Text[] = [];
    let turn: Turn = { System: "", Prompt: "", Response: "" };
    const close = () => {
      parts.push(this.template.execute(turnRecord(turn)));
      turn = { System: "", Prompt: "", Response: "" };
    };
    for (const { role, text } of messages) {
      if (role === "system") {
        if (turn.Prompt !== "" || turn.Response !== "") close();
        turn.System = text;
      } else if (role === "user") {
        if (turn.Response !== "") close();
        turn.Prompt = text;
      } else if (role === "assistant") {
        turn.Response = text;
      }
    }
    parts.push(new GoTemplate(cutBehindResponse(this.template.nodes)).execute(turnRecord(turn)));
    return Text.concat(parts);
  }
}

interface Turn {
  System: string;
  Prompt: string;
  Response: string;
}

/** A message with the text of its content. */
interface Joined {
  role: string;
  text: string;
  message: ChatMessage;
}

function joinNeighbours(messages: readonly ChatMessage[]): Joined[] {
  const joined: Joined[] = [];
  for (const [index, message] of messages.entries()) {
    const { role, content = "" } = message;
    if (typeof content !== "string" && content !== null)
      throw new TypeError(`the content of message ${index} is no text`);
    const last = joined.at(-1);
    if (last !== undefined && last.role === role && role !== "tool") last.text += BETWEEN + (content ?? "");
    else joined.push({ role, text: content ?? "", message });
  }
  return joined;
}

/** The fields of ollama's api.Message. */
function asGo({ role, text, message }: Joined): GoValue {
  const fields: Record<string, GoValue> = {
    Role: Text.fromData(role),
    Content: Text.fromData(text),
    Thinking: Text.fromData(typeof message.thinking === "string" ? message.thinking : ""),
    ToolName: Text.fromData(typeof message.tool_name === "string" ? message.tool_name : ""),
    Images: [],
    ToolCalls: withGoNames(fromJson(message.tool_calls ?? [], "ToolCall")),
  };
  return new GoObject("Message", new Map(Object.entries(fields)), goJson({ ...message, role, content: text }));
}

/**
 * Tool definitions and calls have structs in ollama, whose fields are the JSON's names in Go's spelling (`name` is `.Name`). What
 * stands below `properties` and `arguments` is data of the user's: its keys stay as they are.
 */
function withGoNames(value: GoValue): GoValue {
  if (Array.isArray(value)) return value.map(withGoNames);
  if (!(value instanceof GoObject)) return value;
  const fields = [...value.fields].map(([key, item]) => {
    const isData = key === "properties" || key === "arguments";
    return [goName(key), isData ? item : withGoNames(item)] as const;
  });
  return new GoObject(value.kind, new Map(fields), value.json, true);
}

function goName(key: string): string {
  return key.replace(/(?:^|_)([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}

function record(fields: Record<string, GoValue>): GoObject {
  return new GoObject("map", new Map(Object.entries(fields)), "{}", true);
}

function turnRecord(turn: Turn): GoObject {
  return record(Object.fromEntries(Object.entries(turn).map(([name, text]) => [name, Text.fromData(text)])));
}

/** The template without what follows the first action with `.Response`, so that the text ends where the model goes on. */
function cutBehindResponse(nodes: readonly GoNode[]): GoNode[] {
  let isCut = false;
  const cut = (list: readonly GoNode[]): GoNode[] =>
    list.flatMap((node): GoNode[] => {
      if (isCut) return [];
      if (node.type === "action") {
        const pipe = cutPipe(node.pipe);
        return pipe === null ? [] : [{ ...node, pipe }];
      }
      if (node.type !== "if" && node.type !== "with" && node.type !== "range") return [node];
      return [{ ...node, body: cut(node.body), otherwise: cut(node.otherwise) }];
    });
  /** Words behind `.Response` in its own action go too. */
  const cutPipe = (pipe: Pipe): Pipe | null => {
    const commands = pipe.commands.flatMap((command): Operand[][] => {
      const kept = command.filter((operand) => {
        if (isCut) return false;
        if (operand.type === "path" && operand.start === "dot" && operand.fields.includes("Response")) isCut = true;
        return true;
      });
      return kept.length === 0 ? [] : [kept];
    });
    return commands.length === 0 ? null : { ...pipe, commands };
  };
  return cut(nodes);
}
