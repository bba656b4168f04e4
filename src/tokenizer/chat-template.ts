import { createHash } from "node:crypto";
import { CheckpointError, describe, InvalidArgumentError, invalidArgument } from "../errors.js";
import { RaisedByTemplate } from "./jinja/globals.js";
import { JinjaTemplate } from "./jinja/template.js";
import type { Text } from "./jinja/text.js";
import { OllamaTemplate } from "./ollama-template.js";
import type { Tokenizer } from "./tokenizer.js";

/** Where a chat template came from; recorded with every result, since one full stop in it changes scores. */
export type TemplateSource =
  | "chat_template.jinja"
  | "tokenizer_config.json"
  | "GGUF metadata"
  | "ollama layer"
  | "caller";

/** One message. Templates read what fields they like; `role` and `content` are the usual ones. */
export interface ChatMessage {
  role: string;
  content?: unknown;
  [field: string]: unknown;
}

export interface RenderOptions {
  /** Open the assistant's turn at the end. Default true. */
  addGenerationPrompt?: boolean;
  /** Tool definitions, as JSON schemas; handed to the template as they are. */
  tools?: readonly unknown[] | null;
  /** More variables for the template. Their strings count as a user's text. */
  variables?: Readonly<Record<string, unknown>>;
}

export interface RenderedChat {
  text: string;
  /** One entry per UTF-16 code unit of `text`: 1 where the template wrote it, 0 where messages, tools or variables did. */
  fromTemplate: Uint8Array;
}

/** What a model's files say beside the template's text. */
export interface TemplateContext {
  specialTokens?: SpecialTokenTexts;
  /** Messages that come before any conversation; a system message among them only if the conversation has none in front. */
  leading?: readonly ChatMessage[];
}

/** The texts of the special tokens that templates name: `bos_token`, `eos_token`, `pad_token`, `unk_token`. */
export type SpecialTokenTexts = Readonly<Record<string, string>>;

/**
 * A model's chat template. It is always the one that the model's files hold, or that the caller gives; none is ever guessed.
 *
 * Rendering tracks every character's origin through all that the template does (trim, slices, upper case, tojson), so that
 * `encode` reads special tokens only where the template itself wrote their whole text. The limit of this: a template that
 * spells a special token out of a user's characters, or looks one up by a user's words in a table of its own, is trusted to
 * mean it only for the characters that stand in the template.
 */
export class ChatTemplate {
  readonly text: string;
  readonly source: TemplateSource;
  /** Of the template's UTF-8 text, in hexadecimal. */
  readonly sha256: string;
  private readonly template: JinjaTemplate | OllamaTemplate;
  private readonly context: TemplateContext;

  /** Jinja, or Go where it is a layer of ollama's. Throws BAD_FILE where the template does not parse, naming its source. */
  constructor(text: string, source: TemplateSource, context: TemplateContext = {}) {
    this.text = text;
    this.source = source;
    this.sha256 = createHash("sha256").update(text, "utf8").digest("hex");
    this.context = context;
    try {
      this.template = source === "ollama layer" ? new OllamaTemplate(text) : new JinjaTemplate(text);
    } catch (cause) {
      const language = source === "ollama layer" ? "Go" : "Jinja";
      const message = `Expected a ${language} chat template (${source}), got one that does not parse: ${(cause as Error).message}.`;
      if (source === "caller") throw new InvalidArgumentError(message, { cause });
      throw new CheckpointError("BAD_FILE", message, { cause });
    }
  }

  /**
   * The text of a conversation. Throws INVALID_ARGUMENT: with the template's own message where it refuses the messages (roles
   * that do not alternate, an unknown role), else with what in them it could not use.
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): RenderedChat {
    checkMessages(messages);
    let rendered: Text;
    try {
      rendered = this.renderText([...this.leading(messages), ...messages], options);
    } catch (cause) {
      if (cause instanceof InvalidArgumentError) throw cause;
      if (cause instanceof RaisedByTemplate) throw new InvalidArgumentError(cause.message, { cause });
      throw new InvalidArgumentError(
        `The chat template (${this.source}) cannot render these messages: ${(cause as Error).message}.`,
        { cause },
      );
    }
    const fromTemplate = new Uint8Array(rendered.length);
    let offset = 0;
    for (const run of rendered.runs) {
      if (!run.fromData) fromTemplate.fill(1, offset, offset + run.text.length);
      offset += run.text.length;
    }
    return { text: rendered.value, fromTemplate };
  }

  private leading([first]: readonly ChatMessage[]): readonly ChatMessage[] {
    return (this.context.leading ?? []).filter(({ role }) => role !== "system" || first?.role !== "system");
  }

  private renderText(messages: readonly ChatMessage[], options: RenderOptions): Text {
    const { addGenerationPrompt = true, tools = null, variables = {} } = options;
    if (this.template instanceof JinjaTemplate) {
      const data = { ...variables, messages, tools, documents: null, add_generation_prompt: addGenerationPrompt };
      return this.template.render(data, this.context.specialTokens);
    }
    if (!addGenerationPrompt) {
      throw new InvalidArgumentError(
        "Expected addGenerationPrompt with a template of ollama's, which always opens a turn.",
      );
    }
    return this.template.render(messages, tools);
  }

  /**
   * Renders and encodes. Special-token text in messages stays text. A Jinja template writes its own BOS; before one of ollama's the
   * tokenizer's BOS is added, as its server does, if the tokenizer adds one to texts.
   */
  async encode(
    tokenizer: Tokenizer,
    messages: readonly ChatMessage[],
    options: RenderOptions = {},
  ): Promise<{ text: string; ids: Int32Array }> {
    const { text, fromTemplate } = this.render(messages, options);
    const addSpecial = this.template instanceof OllamaTemplate;
    return { text, ids: await tokenizer.encodeTrusted(text, fromTemplate, addSpecial) };
  }
}

/** The error for a chat with a model whose files hold no template. */
export function missingChatTemplate(modelSource: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `Expected a chat template in ${modelSource}, got none: give one yourself, or use generate with a plain prompt.`,
  );
}

function checkMessages(messages: unknown): void {
  if (!Array.isArray(messages)) throw invalidArgument("messages", "a list of { role, content }", messages);
  for (const [index, message] of messages.entries()) {
    const role = typeof message === "object" && message !== null ? (message as { role?: unknown }).role : undefined;
    if (typeof role === "string") continue;
    throw new InvalidArgumentError(
      `Expected messages[${index}] to be an object with a role, got ${describe(role === undefined ? message : role)}.`,
    );
  }
}
