import type { Attempt, LoadedTask, Sandbox, Selection, Task } from "../src/index.js";
import {
  GREEDY,
  generatedText,
  invalidArgument,
  openSandbox,
  PROGRAM_LIMITS,
  packageRoot,
  programEnvironment,
  readJsonl,
  scorePrograms,
  selectSamples,
  withStrings,
} from "../src/index.js";

/**
 * The fourth mini suite: 164 small functions in HumanEval's format, written for the embedded model (`evals/mini/README.md` has the
 * prompts). It tells whether generating, running and scoring programs works, and nothing about large models. Greedy.
 */
export interface HumanEvalMiniOptions extends Selection {
  /** `plain` (default): the prompt is continued. `chat`: one user message asks for the whole function. */
  form?: HumanEvalMiniForm;
  /** Limit of an answer's tokens; default 48 in `plain` and 72 in `chat`. */
  maxTokens?: number;
  /** Where programs run; default bubblewrap, or WebAssembly where that is not to be had. */
  sandbox?: Sandbox;
  /** Run programs without isolation, as the user who runs this. Recorded with the score. */
  unsafeCode?: boolean;
}

export type HumanEvalMiniForm = "plain" | "chat";

/** The forms, the main one first. */
export const HUMANEVAL_MINI_FORMS: readonly HumanEvalMiniForm[] = ["plain", "chat"];

const CHAT_QUESTION = (prompt: string): string => `Complete this Python function.\n${prompt}`;

type Problem = Record<"task_id" | "prompt" | "entry_point" | "canonical_solution" | "test", string>;

interface Settings {
  form: HumanEvalMiniForm;
  maxTokens: number;
  sandbox: Sandbox;
}

/** The task; nothing is read, and no sandbox looked for, before it runs. */
export function humanevalMini(options: HumanEvalMiniOptions = {}): Task<Problem> {
  const { form = "plain" } = options;
  if (!HUMANEVAL_MINI_FORMS.includes(form)) {
    throw invalidArgument("form", `a form of humaneval-mini (${HUMANEVAL_MINI_FORMS.join(", ")})`, form);
  }
  const { maxTokens = form === "plain" ? 48 : 72, sandbox = openSandbox(options.unsafeCode ? "none" : undefined) } =
    options;
  return {
    name: form === "plain" ? "humaneval-mini" : `humaneval-mini-${form}`,
    track: "ref",
    version: "2",
    settings: {
      protocol: "moescope, evals/mini 2",
      ...{ form, numFewshot: 0, maxTokens, sampling: { ...GREEDY } },
      ...{ sandbox: sandbox.name, timeoutMs: PROGRAM_LIMITS.timeoutMs, memoryBytes: PROGRAM_LIMITS.memoryBytes },
      limit: options.limit ?? null,
      sampleIds: options.sampleIds ?? null,
    },
    metrics: [{ name: "pass@1", scorer: "pass@1", average: "micro" }],
    load: () => load(options, { form, maxTokens, sandbox }),
  };
}

async function load(selection: Selection, { form, maxTokens, sandbox }: Settings): Promise<LoadedTask<Problem>> {
  const folder = { root: packageRoot(), dataset: "humaneval-mini", howToGet: "npm install moescope" };
  const { rows, file } = await readJsonl(folder, "evals/mini/humaneval-mini.jsonl", (row) =>
    withStrings(row, ["task_id", "prompt", "entry_point", "canonical_solution", "test"]),
  );
  const samples = rows.map((doc) => {
    return { id: doc.task_id, group: "", input: doc.prompt, target: doc.canonical_solution, doc };
  });
  const limits = { stop: [], maxTokens, sampling: GREEDY };
  return {
    dataset: {
      name: "humaneval-mini",
      licence: "Apache-2.0",
      source: "made by models/demo/train/make_suites.py",
      split: "test",
      files: [file],
      rows: file.rows,
    },
    environment: await programEnvironment(sandbox),
    samples: selectSamples(samples, selection),
    groups: { name: "" },
    requests: ({ doc }) =>
      form === "plain"
        ? [{ kind: "generate", prompt: doc.prompt, ...limits }]
        : [{ kind: "chat", messages: [{ role: "user", content: CHAT_QUESTION(doc.prompt) }], ...limits }],
    score: ({ doc }, [response], signal) => {
      const text = generatedText(response);
      return scorePrograms(sandbox, [attemptOf(doc, form === "plain" ? doc.prompt + text : text)], [1], { signal });
    },
  };
}

function attemptOf({ prompt, entry_point: entryPoint, test }: Problem, source: string): Attempt {
  return { source, entryPoint, prelude: prompt, tests: `${test}\ncheck(${entryPoint})` };
}
