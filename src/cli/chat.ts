/** `moescope chat`: a conversation in the terminal, or one answer for a script. */
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { InvalidArgumentError } from "../errors.js";
import type { GenerateOptions, Generation } from "../model/generation.js";
import type { Model } from "../model/model.js";
import { formatSampling } from "../model/sampling.js";
import type { ExpertLoad } from "../router/expert-load.js";
import { type ChatMessage, missingChatTemplate } from "../tokenizer/chat-template.js";
import { expertHeatmap } from "./heatmap.js";
import { readStdin, type Terminal } from "./io.js";
import { withModel } from "./load.js";
import { jsonOption, type ModelOptions, repeatable, withIntervene, withModelOptions } from "./options.js";
import { type SamplingFlags, samplingOf, withSamplingOptions } from "./sampling-options.js";
import { printGeneration } from "./stream-text.js";
import { suggestionFor } from "./suggest.js";

interface Options extends ModelOptions, SamplingFlags {
  message?: string[];
  system?: string;
  json?: boolean;
}

export function registerChat(program: Command, terminal: Terminal): void {
  const command = program
    .command("chat")
    .description("talk with a model by its own chat template; from a pipe, stdin is one message")
    .argument("<model>", "folder, .gguf file or demo")
    .option("--message <text>", "answer this and end; several make a conversation, each answered in turn", repeatable)
    .option("--system <text>", "system message");
  withSamplingOptions(command).addOption(
    jsonOption("print {text, tokenIds, finishReason, usage, timing} for each message; not in a conversation by hand"),
  );
  withModelOptions(withIntervene(command))
    .addHelpText(
      "after",
      "\nIn the conversation: /reset forgets it, /system TEXT sets the system message, /experts shows the expert load of the last" +
        '\nanswer, /quit ends; Ctrl-C stops an answer.\n\nExample:\n  $ moescope chat demo --message "What is the capital of France?"',
    )
    .action((name: string, options: Options) => chat(terminal, name, options));
}

async function chat(terminal: Terminal, name: string, options: Options): Promise<void> {
  const isByHand = options.message === undefined && terminal.stdin.isTTY === true;
  if (isByHand && options.json)
    throw new InvalidArgumentError("Expected --message or a text on stdin with --json, got neither.");
  const messages = isByHand ? [] : (options.message ?? [await messageFromStdin(terminal)]);
  await withModel(terminal, name, options, async (model) => {
    if (model.chatTemplate === null) throw missingChatTemplate(model.parts.checkpoint.path);
    const conversation = new Conversation(terminal, model, options);
    if (isByHand) return talk(terminal, conversation, options);
    for (const message of messages) {
      await conversation.ask(message, terminal.signal);
    }
  });
}

async function messageFromStdin(terminal: Terminal): Promise<string> {
  const text = (await readStdin(terminal)).replace(/\r?\n$/, "");
  if (text === "") throw new InvalidArgumentError("Expected --message or a text on stdin, got an empty one.");
  return text;
}

/** What was said so far, and the load of the last answer. */
class Conversation {
  readonly #terminal: Terminal;
  readonly #model: Model;
  readonly #options: Options;
  #system: string | undefined;
  #turns: ChatMessage[] = [];
  #lastLoad: ExpertLoad | undefined;

  constructor(terminal: Terminal, model: Model, options: Options) {
    this.#terminal = terminal;
    this.#model = model;
    this.#options = options;
    this.#system = options.system;
  }

  /** Answers a message; the text is printed as it comes. A cancelled answer is taken back with its question. */
  async ask(message: string, signal: AbortSignal): Promise<Generation> {
    const system = this.#system === undefined ? [] : [{ role: "system", content: this.#system }];
    const turns = [...this.#turns, { role: "user", content: message }];
    const isMoe = this.#model.parts.shape.moeLayers.length > 0;
    const call: GenerateOptions = { ...samplingOf(this.#options), trace: isMoe ? "topk" : "counts", signal };
    const stream = this.#model.streamChat([...system, ...turns], call);
    const answer = await printGeneration(this.#terminal, stream, { json: this.#options.json });
    if (!this.#options.quiet) this.#terminal.note(statistics(answer));
    this.#turns = [...turns, { role: "assistant", content: answer.text }];
    this.#lastLoad = answer.trace?.slice(answer.promptIds.length).expertLoad();
    return answer;
  }

  reset(): void {
    this.#turns = [];
    this.#lastLoad = undefined;
  }

  setSystem(text: string): void {
    this.#system = text === "" ? undefined : text;
    this.reset();
  }

  /** The expert load of the last answer, as a heat map or a sentence. */
  experts(): string {
    if (this.#model.parts.shape.moeLayers.length === 0) return "This model has no routed experts.";
    if (this.#lastLoad === undefined) return "There is no answer yet.";
    const { isTTY: colour, columns: width } = this.#terminal.stdout;
    return expertHeatmap(this.#lastLoad, { colour, width });
  }
}

function statistics({ usage, timing, sampling, finishReason }: Generation): string {
  return (
    `(${usage.promptTokens} + ${usage.completionTokens} tokens, ${timing.tokensPerSecond.toFixed(1)} tokens/s, ended by ${finishReason}; ` +
    `sampling: ${formatSampling(sampling)})`
  );
}

const COMMANDS = ["/reset", "/system", "/experts", "/quit", "/help"] as const;

/** The conversation by hand. Ctrl-C stops an answer; at the prompt, or a second time, it ends the conversation. */
async function talk(terminal: Terminal, conversation: Conversation, options: Options): Promise<void> {
  const readline = createInterface({
    input: terminal.stdin,
    output: terminal.stdout,
    terminal: true,
    signal: terminal.signal,
  });
  let answering: AbortController | undefined;
  readline.on("SIGINT", () => {
    if (answering === undefined || answering.signal.aborted) readline.close();
    else answering.abort();
  });
  if (!options.quiet) terminal.note("/help lists the commands, Ctrl-C stops an answer, /quit ends.");
  readline.setPrompt("> ");
  readline.prompt();
  for await (const line of readline) {
    const text = line.trim();
    if (text === "/quit") break;
    if (text.startsWith("/")) await terminal.print(obey(conversation, text));
    else if (text !== "") {
      answering = new AbortController();
      try {
        await conversation.ask(text, AbortSignal.any([answering.signal, terminal.signal]));
      } catch (error) {
        if (terminal.signal.aborted) throw error;
        terminal.note((error as Error).message);
      }
      answering = undefined;
    }
    readline.prompt();
  }
  readline.close();
}

function obey(conversation: Conversation, text: string): string {
  const [, command, argument] = /^(\S+)\s*([\s\S]*)$/.exec(text)!;
  switch (command) {
    case "/reset":
      conversation.reset();
      return "The conversation starts anew.";
    case "/system":
      conversation.setSystem(argument!);
      return argument === ""
        ? "No system message; the conversation starts anew."
        : "The conversation starts anew with this system message.";
    case "/experts":
      return conversation.experts();
    case "/help":
      return "/reset forgets the conversation, /system TEXT sets the system message, /experts shows the load of the last answer, /quit ends.";
    default: {
      const near = suggestionFor(command!, COMMANDS);
      return `Expected one of ${COMMANDS.join(", ")}, got ${command}${near === undefined ? "." : `; did you mean ${near}?`}`;
    }
  }
}
