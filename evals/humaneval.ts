import type {
  Attempt,
  LoadedTask,
  Sample,
  SampleRequest,
  SamplingSettings,
  Sandbox,
  Selection,
  Task,
  Track,
} from "../src/index.js";
import {
  dataFolder,
  GREEDY,
  generatedText,
  invalidArgument,
  openSandbox,
  PROGRAM_LIMITS,
  programEnvironment,
  pythonStrip,
  readJsonl,
  requireFiles,
  scorePrograms,
  selectSamples,
  withStrings,
} from "../src/index.js";

/**
 * HumanEval: Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374). 164 Python functions to be written
 * from signature and docstring; a program passes when its tests do.
 *
 * Track `ref`: lm-evaluation-harness 0.4.13, task `humaneval` 1.0: the prompt as it is is continued, prompt and continuation are the
 * program. Track `qwen`: the CodeQwen1.5 evaluation (QwenLM/Qwen2.5-Coder at b082fc3, `evaluation/eval_plus`) that Qwen's maintainers
 * name: a conversation written out whose answer is begun with a code fence, and the answer alone is the program. Qwen also scored
 * outputs that `evalplus.sanitize` had cleaned; which of the two was printed is not known, and this is the raw one. There the context
 * ends after 2,048 tokens of prompt and answer together; here `maxTokens` counts the answer alone.
 */
export interface HumanEvalOptions extends Selection {
  /** The folder that holds `humaneval/HumanEval.jsonl.gz`; default `MOESCOPE_DATA`, or what `moescope data get` brought. */
  dataDir?: string;
  track?: Track;
  /** Limit of an answer's tokens; default 1024 in track `ref`, as the harness has it, and 2048 in track `qwen`. */
  maxTokens?: number;
  /** Programs for each problem; default 1. More than one need a temperature. */
  numSamples?: number;
  /** Which pass@k to give, each at most `numSamples`; default 1. */
  k?: readonly number[];
  /** Default 0, greedy; otherwise nucleus sampling with p = 0.95, as in the paper. */
  temperature?: number;
  /** Seed of the first program of each problem; the following ones have the following seeds. */
  seed?: number;
  /** Wall time of a program and its tests in milliseconds; default 3000, as in both harnesses' origin. */
  timeoutMs?: number;
  /** Where programs run; default bubblewrap, or WebAssembly where that is not to be had. */
  sandbox?: Sandbox;
  /** Run programs without isolation, as the user who runs this. Recorded with the score. */
  unsafeCode?: boolean;
}

const REF_STOP = ["\nclass", "\ndef", "\n#", "\nif", "\nprint", "<|im_end|>"];

const QWEN_PROMPT = (prompt: string): string =>
  "<|im_start|>system\nYou are an intelligent programming assistant to produce Python algorithmic solutions<|im_end|>\n" +
  "<|im_start|>user\nCan you complete the following Python function?\n" +
  `\`\`\`python\n${pythonStrip(prompt)}\n\`\`\`\n<|im_end|>\n<|im_start|>assistant\n\`\`\`python\n`;
const QWEN_STOP = ["<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(", "\n```"];
const FENCE = "```";

const REF_POST_PROCESSING = "none: prompt and continuation are the program";
const QWEN_POST_PROCESSING =
  "tabs to 4 spaces, cut at the first fence; no evalplus.sanitize, whose cleaning can move a model by 10 points or more";

const OFFICIAL_ROWS = 164;
const FILE = "humaneval/HumanEval.jsonl.gz";

type Problem = Record<"task_id" | "prompt" | "entry_point" | "canonical_solution" | "test", string>;

interface Settings {
  track: Track;
  maxTokens: number;
  numSamples: number;
  k: readonly number[];
  sampling: Readonly<SamplingSettings>;
  timeoutMs: number;
  sandbox: Sandbox;
}

/** The task; nothing is read, and no sandbox looked for, before it runs. */
export function humaneval(options: HumanEvalOptions = {}): Task<Problem> {
  const settings = settingsOf(options);
  const { track, maxTokens, numSamples, k, sampling, timeoutMs, sandbox } = settings;
  return {
    name: "humaneval",
    track,
    version: "1",
    settings: {
      protocol:
        track === "ref"
          ? "lm-evaluation-harness 0.4.13, humaneval 1.0"
          : "Qwen2.5-Coder b082fc3, eval_plus, raw, HumanEval's tests",
      postProcessing: track === "ref" ? REF_POST_PROCESSING : QWEN_POST_PROCESSING,
      ...{ numFewshot: 0, maxTokens, numSamples, k, sampling: { ...sampling } },
      ...{ sandbox: sandbox.name, timeoutMs, memoryBytes: PROGRAM_LIMITS.memoryBytes },
      limit: options.limit ?? null,
      sampleIds: options.sampleIds ?? null,
    },
    metrics: k.map((each) => ({ name: `pass@${each}`, scorer: `pass@${each}`, average: "micro" })),
    load: () => load(options, settings),
  };
}

function settingsOf(options: HumanEvalOptions): Settings {
  const { track = "ref", numSamples = 1, k = [1], temperature = 0, seed = 0 } = options;
  const { maxTokens = track === "ref" ? 1024 : 2048, timeoutMs = PROGRAM_LIMITS.timeoutMs } = options;
  if (!Number.isInteger(numSamples) || numSamples < 1) {
    throw invalidArgument("numSamples", "a whole number, at least 1", numSamples);
  }
  if (numSamples > 1 && !(temperature > 0)) {
    throw invalidArgument("temperature", "a number above 0 for more than one sample", temperature);
  }
  const bad = k.find((each) => !Number.isInteger(each) || each < 1 || each > numSamples);
  if (k.length === 0 || bad !== undefined) {
    throw invalidArgument("k", `whole numbers from 1 to numSamples = ${numSamples}`, bad ?? k);
  }
  if (options.unsafeCode && options.sandbox !== undefined) {
    throw invalidArgument("unsafeCode", "no sandbox beside it", options.sandbox.name);
  }
  const sampling = temperature === 0 ? GREEDY : { ...GREEDY, temperature, topP: 0.95, seed };
  const sandbox = options.sandbox ?? openSandbox(options.unsafeCode ? "none" : undefined);
  return { track, maxTokens, numSamples, k, sampling, timeoutMs, sandbox };
}

async function load(options: HumanEvalOptions, settings: Settings): Promise<LoadedTask<Problem>> {
  const { track, k, timeoutMs, sandbox } = settings;
  const folder = dataFolder("HumanEval", "humaneval", options.dataDir);
  await requireFiles(folder, [FILE]);
  const { rows, file } = await readJsonl(folder, FILE, (row) =>
    withStrings(row, ["task_id", "prompt", "entry_point", "canonical_solution", "test"]),
  );
  const attempt = track === "ref" ? refAttempt : qwenAttempt;
  return {
    dataset: {
      name: "HumanEval",
      licence: "MIT",
      source: "https://github.com/openai/human-eval",
      split: "test",
      files: [file],
      rows: rows.length,
      officialRows: OFFICIAL_ROWS,
    },
    environment: await programEnvironment(sandbox),
    samples: selectSamples(rows.map(problemSample), options),
    groups: { name: "" },
    requests: ({ doc }) => requestsOf(doc, settings),
    score: ({ doc }, responses, signal) => {
      const attempts = responses.map((response) => attempt(doc, generatedText(response)));
      return scorePrograms(sandbox, attempts, k, { timeoutMs, signal });
    },
  };
}

function requestsOf(doc: Problem, { track, maxTokens, numSamples, sampling }: Settings): SampleRequest[] {
  return Array.from({ length: numSamples }, (_, i): SampleRequest => {
    const limits = { maxTokens, sampling: { ...sampling, seed: sampling.seed + i } };
    return track === "ref"
      ? { kind: "generate", prompt: doc.prompt, stop: REF_STOP, ...limits }
      : { kind: "generate", prompt: QWEN_PROMPT(doc.prompt), parseSpecial: true, stop: QWEN_STOP, ...limits };
  });
}

function refAttempt(doc: Problem, completion: string): Attempt {
  return attemptOf(doc, doc.prompt + completion);
}

/** The answer up to its closing fence; null where there is none. */
function qwenAttempt(doc: Problem, answer: string): Attempt {
  const program = answer.replaceAll("\t", "    ").split(FENCE)[0]!;
  return pythonStrip(program) === "" ? null : attemptOf(doc, program);
}

function attemptOf({ prompt, entry_point: entryPoint, test }: Problem, source: string): Attempt {
  return { source, entryPoint, prelude: prompt, tests: `${test}\ncheck(${entryPoint})` };
}

function problemSample(doc: Problem): Sample<Problem> {
  return { id: doc.task_id, group: "", input: doc.prompt, target: doc.canonical_solution, doc };
}
