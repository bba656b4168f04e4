import type {
  ChatMessage,
  DataFolder,
  DatasetFile,
  LoadedTask,
  PromptForm,
  Sample,
  SampleRequest,
  Selection,
  Shot,
  Task,
  Track,
  Verdict,
} from "../src/index.js";
import {
  dataFolder,
  equalForOpenCompass,
  equalForQwen,
  exactMatch,
  GREEDY,
  generatedText,
  invalidArgument,
  lastNumberOfOpenCompass,
  lastNumberOfQwen,
  MoescopeError,
  promptRequest,
  pythonRegex,
  pythonStrip,
  randomShots,
  readJsonArray,
  readJsonl,
  readText,
  regexFilter,
  requireFiles,
  selectSamples,
  withStrings,
} from "../src/index.js";

/**
 * GSM8K: Cobbe et al., "Training Verifiers to Solve Math Word Problems" (arXiv 2110.14168). 1,319 word problems whose answer is a
 * number, after "#### " in the reference solution.
 *
 * Track `ref`: lm-evaluation-harness 0.4.13. Variant `standard` is its task `gsm8k` 3.0: five solutions drawn from `train` by one
 * generator that runs over the questions in order. Variant `cot` is `gsm8k_cot` 3.0: the eight examples of Wei et al.
 * Track `qwen`: what Qwen ran is not on record (the model card says 79.6, the report 85.3 for one model), so there are three
 * candidates, to be run and printed together: `bare` and `few-shot` of Qwen's `evaluate_chat_gsm8k.py` at 2df8e8a, and `boxed`, the
 * zero-shot prompt of OpenCompass and Qwen2.5-Math.
 */
export interface Gsm8kOptions extends Selection {
  /** The folder that holds `gsm8k/test.jsonl` and `gsm8k/train.jsonl`; default `MOESCOPE_DATA`, or what `moescope data get` brought. */
  dataDir?: string;
  track?: Track;
  /** `standard` (default) or `cot` in track `ref`; `bare`, `few-shot` or `boxed` (default) in track `qwen`. */
  variant?: Gsm8kVariant;
  /** Worked examples of variant `standard`, default 5. */
  numFewshot?: number;
  /** Seed of the draw of examples, variant `standard`. */
  fewshotSeed?: number;
  /** How the prompt is put. Track `ref` only; `qwen` is always a conversation. */
  form?: PromptForm;
  /** Limit of a solution's tokens; default 256 in track `ref`, as the harness has it, and 1024 in track `qwen`. */
  maxTokens?: number;
}

export type Gsm8kVariant = "standard" | "cot" | "bare" | "few-shot" | "boxed";

/** The variants of each track, the default first. */
export const GSM8K_VARIANTS: Readonly<Record<Track, readonly Gsm8kVariant[]>> = {
  ref: ["standard", "cot"],
  qwen: ["boxed", "bare", "few-shot"],
};

const STANDARD_QUESTION = (question: string): string => `Question: ${question}\nAnswer:`;
const STANDARD_STOP = ["Question:", "</s>", "<|im_end|>"];
const COT_QUESTION = (question: string): string => `Q: ${question}\nA:`;
const COT_STOP = ["Q:", "</s>", "<|im_end|>"];
const BOXED_QUESTION = (question: string): string =>
  `${question}\nPlease reason step by step, and put your final answer within \\boxed{}.`;
const FEW_SHOT_QUESTION = (question: string): string => `Question: ${question}\nLet's think step by step`;

const STRICT = pythonRegex("#### (\\-?[0-9\\.\\,]+)");
// The last "." is any character: an answer that ends the text loses its last digit. So it is in the harness.
const COT_STRICT = pythonRegex("The answer is (\\-?[0-9\\.\\,]+).");
const FLEXIBLE = pythonRegex("(-?[$0-9.,]{2,})|(-?[0-9]+)");
const IGNORED = [pythonRegex(","), pythonRegex("\\$"), pythonRegex(".*#### ", "s"), pythonRegex("\\.$")];

const OFFICIAL_ROWS = 1319;
const TEST = "gsm8k/test.jsonl";
const TRAIN = "gsm8k/train.jsonl";
const COT_SHOTS = "gsm8k/cot_8shot.json";
const QWEN_SCRIPT = "gsm8k/evaluate_chat_gsm8k.py";

// Two files of examples are not among what `data get` brings: no hash of theirs is on record.
const COT_SOURCE =
  "https://raw.githubusercontent.com/EleutherAI/lm-evaluation-harness/main/lm_eval/tasks/gsm8k/gsm8k-cot.yaml";
const QWEN_SOURCE = "https://raw.githubusercontent.com/QwenLM/Qwen/main/eval/evaluate_chat_gsm8k.py";

/** The question and the reference solution, which ends in "#### " and the answer. */
type Problem = Record<"question" | "answer", string>;

interface Settings {
  variant: Gsm8kVariant;
  numFewshot: number;
  fewshotSeed: number;
  form: PromptForm;
  maxTokens: number;
}

/** How a variant asks and what it scores. */
type Protocol = Pick<LoadedTask<Problem>, "requests" | "score"> & { files: DatasetFile[] };

/** The task; nothing is read before it runs. Variants other than the track's default carry theirs in the name. */
export function gsm8k(options: Gsm8kOptions = {}): Task<Problem> {
  const { track = "ref", numFewshot = 5, fewshotSeed = 1234, form = "text" } = options;
  const [usual, ...others] = GSM8K_VARIANTS[track];
  const { variant = usual!, maxTokens = track === "ref" ? 256 : 1024 } = options;
  if (variant !== usual && !others.includes(variant)) {
    throw invalidArgument("variant", `one of ${GSM8K_VARIANTS[track].join(", ")} in track ${track}`, variant);
  }
  if (!Number.isInteger(numFewshot) || numFewshot < 0)
    throw invalidArgument("numFewshot", "a whole number", numFewshot);
  const settings = { variant, numFewshot, fewshotSeed, form, maxTokens };
  return {
    name: variant === usual ? "gsm8k" : `gsm8k-${variant}`,
    track,
    version: "1",
    settings: {
      ...describeVariant(settings),
      sampling: { ...GREEDY },
      limit: options.limit ?? null,
      sampleIds: options.sampleIds ?? null,
    },
    metrics: scorersOf(variant).map((scorer) => ({ name: scorer, scorer, average: "micro" })),
    load: () => load(options, settings),
  };
}

function describeVariant(settings: Settings): Task["settings"] {
  const { variant, maxTokens, numFewshot, fewshotSeed, form } = settings;
  switch (variant) {
    case "standard":
      return { protocol: "lm-evaluation-harness 0.4.13, gsm8k 3.0", maxTokens, numFewshot, fewshotSeed, form };
    case "cot":
      return { protocol: "lm-evaluation-harness 0.4.13, gsm8k_cot 3.0", maxTokens, numFewshot: 8, form };
    case "bare":
      return { protocol: "Qwen 2df8e8a, evaluate_chat_gsm8k.py", maxTokens, numFewshot: 0 };
    case "few-shot":
      return { protocol: "Qwen 2df8e8a, evaluate_chat_gsm8k.py --use-fewshot", maxTokens, numFewshot: 4 };
    case "boxed":
      return { protocol: "OpenCompass 26d077b, gsm8k_0shot", maxTokens, numFewshot: 0 };
  }
}

function scorersOf(variant: Gsm8kVariant): string[] {
  return variant === "standard" || variant === "cot" ? ["strict-match", "flexible-extract"] : ["qwen", "opencompass"];
}

async function load(options: Gsm8kOptions, settings: Settings): Promise<LoadedTask<Problem>> {
  const folder = dataFolder("GSM8K", "gsm8k", options.dataDir);
  const test = await readProblems(folder, TEST);
  const { files, ...protocol } = await protocolOf(folder, settings, test.rows.length);
  return {
    dataset: {
      name: "GSM8K",
      licence: "MIT",
      source: "https://github.com/openai/grade-school-math",
      split: "test",
      files: [test.file, ...files],
      rows: test.rows.length,
      officialRows: OFFICIAL_ROWS,
    },
    samples: selectSamples(test.rows.map(problemSample), options),
    groups: { name: "" },
    ...protocol,
  };
}

function protocolOf(folder: DataFolder, settings: Settings, count: number): Promise<Protocol> {
  switch (settings.variant) {
    case "standard":
      return standard(folder, settings, count);
    case "cot":
      return cot(folder, settings);
    case "bare":
      return Promise.resolve(qwen([], settings, (question) => question));
    case "few-shot":
      return fewShot(folder, settings);
    case "boxed":
      return Promise.resolve(qwen([], settings, BOXED_QUESTION));
  }
}

async function standard(folder: DataFolder, settings: Settings, count: number): Promise<Protocol> {
  const { numFewshot, fewshotSeed, maxTokens } = settings;
  const train = await readProblems(folder, TRAIN);
  if (numFewshot > train.rows.length)
    throw invalidArgument("numFewshot", `at most ${train.rows.length} rows`, numFewshot);
  const drawn = randomShots(fewshotSeed, train.rows.length, numFewshot, count);
  const shotsOf = (sample: Sample<Problem>): Shot[] =>
    drawn[Number(sample.id)]!.map((row) => {
      const { question, answer } = train.rows[row]!;
      return { text: STANDARD_QUESTION(question), target: answer };
    });
  return {
    files: [train.file],
    requests: (sample) => {
      const parts = { description: "", shots: shotsOf(sample), question: STANDARD_QUESTION(sample.doc.question) };
      return [promptRequest(parts, settings.form, { stop: STANDARD_STOP, maxTokens, sampling: GREEDY })];
    },
    score: (sample, [response]) => refScores(generatedText(response), STRICT, sample.doc.answer),
  };
}

async function cot(folder: DataFolder, settings: Settings): Promise<Protocol> {
  const howToGet = `write the eight pairs under "samples" in ${COT_SOURCE} there as a JSON array of {question, target}`;
  await requireFiles({ ...folder, howToGet }, [COT_SHOTS]);
  const { rows, file } = await readJsonArray(folder, COT_SHOTS, (row) => withStrings(row, ["question", "target"]));
  const shots = rows.map(({ question, target }) => ({ text: COT_QUESTION(question), target }));
  return {
    files: [file],
    requests: ({ doc }) => {
      const parts = { description: "", shots, question: COT_QUESTION(doc.question) };
      return [promptRequest(parts, settings.form, { stop: COT_STOP, maxTokens: settings.maxTokens, sampling: GREEDY })];
    },
    score: (sample, [response]) => refScores(generatedText(response), COT_STRICT, finalAnswer(sample.doc)),
  };
}

async function fewShot(folder: DataFolder, settings: Settings): Promise<Protocol> {
  const howToGet = `curl -L --create-dirs -o ${folder.root}/${QWEN_SCRIPT} ${QWEN_SOURCE}`;
  await requireFiles({ ...folder, howToGet }, [QWEN_SCRIPT]);
  const { text, sha256 } = await readText(folder, QWEN_SCRIPT);
  const examples = examplesOfScript(text, `${folder.root}/${QWEN_SCRIPT}`);
  const files = [{ path: QWEN_SCRIPT, rows: 4, sha256 }];
  return qwen(files, settings, (question) => examples + FEW_SHOT_QUESTION(question));
}

/** One user message; both extractors read the answer, each with its own comparison. */
function qwen(files: DatasetFile[], settings: Settings, prompt: (question: string) => string): Protocol {
  return {
    files,
    requests: ({ doc }): SampleRequest[] => {
      const messages: ChatMessage[] = [{ role: "user", content: prompt(doc.question) }];
      return [{ kind: "chat", messages, stop: [], maxTokens: settings.maxTokens, sampling: GREEDY }];
    },
    score: ({ doc }, [response]) => {
      const text = generatedText(response);
      const byQwen = lastNumberOfQwen(text);
      const byOpenCompass = lastNumberOfOpenCompass(text);
      return {
        qwen: verdict(byQwen, equalForQwen(byQwen, lastNumberOfQwen(doc.answer)!)),
        opencompass: verdict(byOpenCompass, equalForOpenCompass(byOpenCompass, afterMark(doc).replaceAll(",", ""))),
      };
    },
  };
}

function refScores(text: string, strict: RegExp, target: string): Record<string, Verdict> {
  const score = (answer: string | null): Verdict =>
    verdict(answer, answer !== null && exactMatch(answer, target, IGNORED));
  return {
    "strict-match": score(regexFilter(text, strict, "first")),
    "flexible-extract": score(regexFilter(text, FLEXIBLE, "last")),
  };
}

function verdict(answer: string | null, isRight: boolean): Verdict {
  return { value: isRight ? 1 : 0, answer };
}

/** What follows "#### " in the reference solution, as OpenCompass cuts it. */
function afterMark(doc: Problem): string {
  return doc.answer.split("#### ")[1]!;
}

/** What follows the last "####", stripped, as `gsm8k_cot` cuts it. */
function finalAnswer(doc: Problem): string {
  return pythonStrip(doc.answer.split("####").at(-1)!);
}

function problemSample(doc: Problem, index: number): Sample<Problem> {
  return { id: String(index), group: "", input: doc.question, target: finalAnswer(doc), doc };
}

async function readProblems(folder: DataFolder, path: string): Promise<{ rows: Problem[]; file: DatasetFile }> {
  await requireFiles(folder, [path]);
  return readJsonl(folder, path, (value) => {
    const row = withStrings(value, ["question", "answer"]);
    return row?.answer.includes("#### ") ? row : undefined;
  });
}

/** The worked examples of Qwen's script: its adjacent string literals up to the one that holds the question. */
function examplesOfScript(script: string, path: string): string {
  const literals =
    /((?:\s*"(?:[^"\\\n]|\\.)*"\s*\\?\n)+)\s*f"Question: \{doc\['question'\]\}\\nLet's think step by step"/;
  const found = literals.exec(script.replaceAll("\r\n", "\n").replace("context = ", "\n"))?.[1];
  if (found === undefined) {
    throw new MoescopeError("BAD_FILE", `Expected Qwen's few-shot examples in ${path}, found none.`);
  }
  return [...found.matchAll(/"(?:[^"\\\n]|\\.)*"/g)].map(([literal]) => JSON.parse(literal) as string).join("");
}
