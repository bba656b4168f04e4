import type { ChatMessage, GenerationLimits } from "./language-model.js";
import { PythonRandom } from "./python-random.js";
import type { SampleRequest } from "./task.js";

/** Choosing worked examples and putting them before a question, as lm-evaluation-harness (release 0.4.13) does. */

/** A worked example: a question as it is put, and its answer. */
export interface Shot {
  text: string;
  target: string;
}

/** The parts of a few-shot prompt. Shots and question are separated by an empty line, a text and its target by a space. */
export interface FewShotPrompt {
  /** What comes before everything, with its own line ends; "" for none. */
  description: string;
  shots: readonly Shot[];
  question: string;
}

/**
 * How a prompt reaches a model: as plain text; as one user message that holds everything; or with every shot as a user and an
 * assistant message.
 */
export type PromptForm = "text" | "chat" | "chat-multiturn";

const TARGET_DELIMITER = " ";
const SHOT_DELIMITER = "\n\n";

/**
 * The shots of each of `count` questions, drawn at random: rows of a pool of `poolSize`, in prompt order. One generator runs over the
 * questions in order, so the shots of question i depend on how many came before it.
 */
export function randomShots(seed: number, poolSize: number, shots: number, count: number): number[][] {
  const random = new PythonRandom(seed);
  return Array.from({ length: count }, () => random.sample(poolSize, shots));
}

/** The whole prompt as one text that ends with the question. */
export function textPrompt(prompt: FewShotPrompt): string {
  return prompt.description + withShots(prompt);
}

/** The prompt as a conversation; a description becomes the system message, otherwise the template's default stands. */
export function chatPrompt(prompt: FewShotPrompt, form: "chat" | "chat-multiturn"): ChatMessage[] {
  const messages: ChatMessage[] = [];
  if (prompt.description !== "") messages.push({ role: "system", content: prompt.description });
  if (form === "chat") return [...messages, { role: "user", content: withShots(prompt) }];
  for (const shot of prompt.shots) {
    messages.push({ role: "user", content: shot.text }, { role: "assistant", content: shot.target });
  }
  return [...messages, { role: "user", content: prompt.question }];
}

/** The request that has a prompt continued, or answered where it is a conversation. */
export function promptRequest(prompt: FewShotPrompt, form: PromptForm, limits: GenerationLimits): SampleRequest {
  return form === "text"
    ? { kind: "generate", prompt: textPrompt(prompt), ...limits }
    : { kind: "chat", messages: chatPrompt(prompt, form), ...limits };
}

/** A choice as the continuation of a prompt: after plain text it follows a space, in an assistant's turn it stands alone. */
export function choiceContinuation(choice: string, form: PromptForm): string {
  return form === "text" ? TARGET_DELIMITER + choice : choice;
}

function withShots(prompt: FewShotPrompt): string {
  const shots = prompt.shots.map((shot) => shot.text + TARGET_DELIMITER + shot.target + SHOT_DELIMITER);
  return shots.join("") + prompt.question;
}
