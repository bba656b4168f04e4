import type {
  ChatMessage,
  DatasetFile,
  DatasetInfo,
  Group,
  LoadedTask,
  Sample,
  SampleRequest,
  Selection,
  Task,
  Verdict,
} from "../src/index.js";
import {
  GREEDY,
  generatedText,
  greedyChoice,
  invalidArgument,
  packageRoot,
  readJsonl,
  selectSamples,
  withStrings,
} from "../src/index.js";

/**
 * The mini suites: small benchmarks that we wrote for the embedded model, in the package itself (`evals/mini`, whose README.md has the
 * prompts). They tell whether an engine, a harness or an intervention works, and nothing about large models. No worked examples, greedy.
 */
export interface MiniOptions extends Selection {
  /** How the question is put; the first of each suite's is the default and the form that its scores are quoted in. */
  form?: MiniForm;
  /** Limit of an answer's tokens, where there is an answer to write. */
  maxTokens?: number;
}

/**
 * `chat`: one user message, a written answer. `plain`: bare text, continued. `letter`: the likeliest of " A" to " D". `cloze`: the
 * choices are not shown, the likeliest of their texts is the answer.
 */
export type MiniForm = "chat" | "plain" | "letter" | "cloze";

/** The suites and their forms, the main one first. */
export const MINI_FORMS: Readonly<Record<"mmlu-mini" | "ceval-mini" | "gsm8k-mini", readonly MiniForm[]>> = {
  "mmlu-mini": ["chat", "letter", "cloze"],
  "ceval-mini": ["chat", "letter", "cloze"],
  "gsm8k-mini": ["chat", "plain"],
};

const LETTERS = ["A", "B", "C", "D"] as const;
const END_OF_TEXT = "<|endoftext|>";

/** The reply repeats the choices with their letters behind, then ends in the chosen text and its letter. */
const CHOSEN = /(?:Answer|答案): .+ ([A-D])\s*$/;
const NUMBER = /#### (-?\d+)/;

export interface Choice {
  id: string;
  subject: string;
  question: string;
  choices: string[];
  /** Index of the right choice. */
  answer: number;
}

export interface Problem {
  id: string;
  question: string;
  /** Worked; ends in "#### " and the number. */
  answer: string;
}

/** Four choices in English. */
export function mmluMini(options: MiniOptions = {}): Task<Choice> {
  return choiceSuite("mmlu-mini", ["Question: ", "Answer:"], options);
}

/** Four choices in Chinese. */
export function cevalMini(options: MiniOptions = {}): Task<Choice> {
  return choiceSuite("ceval-mini", ["问题: ", "答案:"], options);
}

/** Word problems of one or two steps. */
export function gsm8kMini(options: MiniOptions = {}): Task<Problem> {
  const form = formOf("gsm8k-mini", options.form);
  const maxTokens = options.maxTokens ?? 64;
  return miniTask("gsm8k-mini", form, { maxTokens }, options, problemOf, {
    sample: (doc) => ({ id: doc.id, group: "", input: doc.question, target: NUMBER.exec(doc.answer)![1]!, doc }),
    requests: ({ doc }) => {
      const limits = { stop: [], maxTokens, sampling: GREEDY };
      return form === "chat"
        ? [{ kind: "chat", messages: userTurn(doc.question), ...limits }]
        : [{ kind: "generate", prompt: `Question: ${doc.question}\nAnswer:`, ...limits }];
    },
    score: ({ target }, [response]) => ({ accuracy: verdict(NUMBER.exec(generatedText(response))?.[1], target) }),
  });
}

function choiceSuite(
  name: "mmlu-mini" | "ceval-mini",
  [asking, answering]: readonly [string, string],
  options: MiniOptions,
): Task<Choice> {
  const form = formOf(name, options.form);
  const maxTokens = options.maxTokens ?? 48;
  const requests = ({ doc }: Sample<Choice>): SampleRequest[] => {
    const shown = `${doc.question}\n${choiceLines(doc)}`;
    if (form === "chat") {
      return [{ kind: "chat", messages: userTurn(shown), stop: [], maxTokens, sampling: GREEDY }];
    }
    const context = `${asking}${form === "letter" ? shown : doc.question}\n${answering}`;
    if (form === "letter") {
      return LETTERS.map((letter) => ({ kind: "loglikelihood", context, continuation: ` ${letter}` }));
    }
    return doc.choices.map((choice) => {
      return { kind: "loglikelihood", context, continuation: ` ${choice}${END_OF_TEXT}`, parseSpecial: true };
    });
  };
  return miniTask(name, form, form === "chat" ? { maxTokens } : {}, options, choiceOf, {
    sample: (doc) => {
      const input = `${doc.question}\n${choiceLines(doc)}`;
      return { id: doc.id, group: doc.subject, input, target: LETTERS[doc.answer]!, doc };
    },
    requests,
    score: ({ target }, responses) => {
      const letter =
        form === "chat" ? CHOSEN.exec(generatedText(responses[0]))?.[1] : LETTERS[greedyChoice(responses)]!;
      return { accuracy: verdict(letter, target) };
    },
  });
}

interface Suite<Doc> extends Pick<LoadedTask<Doc>, "requests" | "score"> {
  sample(doc: Doc): Sample<Doc>;
}

function miniTask<Doc>(
  name: keyof typeof MINI_FORMS,
  form: MiniForm,
  limits: { maxTokens?: number },
  options: Selection,
  check: (value: unknown) => Doc | undefined,
  { sample, ...protocol }: Suite<Doc>,
): Task<Doc> {
  return {
    name: form === MINI_FORMS[name][0] ? name : `${name}-${form}`,
    track: "ref",
    version: "3",
    settings: {
      protocol: "moescope, evals/mini 3",
      form,
      numFewshot: 0,
      ...limits,
      sampling: { ...GREEDY },
      limit: options.limit ?? null,
      sampleIds: options.sampleIds ?? null,
    },
    metrics: [{ name: "accuracy", scorer: "accuracy", average: "micro" }],
    load: async () => {
      const { docs, file } = await readSuite(name, check);
      const samples = docs.map(sample);
      const groups = groupsOf(name, samples);
      return { dataset: datasetOf(name, file), samples: selectSamples(samples, options), groups, ...protocol };
    },
  };
}

async function readSuite<Doc>(
  name: string,
  check: (value: unknown) => Doc | undefined,
): Promise<{ docs: Doc[]; file: DatasetFile }> {
  const folder = { root: packageRoot(), dataset: name, howToGet: "npm install moescope" };
  const { rows, file } = await readJsonl(folder, `evals/mini/${name}.jsonl`, check);
  return { docs: rows, file };
}

function datasetOf(name: string, file: DatasetFile): DatasetInfo {
  const source = "made by models/demo/train/make_suites.py";
  return { name, licence: "Apache-2.0", source, split: "test", files: [file], rows: file.rows };
}

/** The subjects in the order of the file; a single leaf where there are none. */
function groupsOf(name: string, samples: readonly Sample[]): Group {
  const subjects = [...new Set(samples.map(({ group }) => group))];
  return subjects.length === 1 ? { name: subjects[0]! } : { name, children: subjects.map((s) => ({ name: s })) };
}

function choiceOf(value: unknown): Choice | undefined {
  const row = withStrings(value, ["id", "subject", "question"]) as (Partial<Choice> & object) | undefined;
  const isChoice =
    Array.isArray(row?.choices) &&
    row.choices.length === LETTERS.length &&
    row.choices.every((choice) => typeof choice === "string") &&
    LETTERS[row.answer!] !== undefined;
  return isChoice ? (row as Choice) : undefined;
}

function problemOf(value: unknown): Problem | undefined {
  const row = withStrings(value, ["id", "question", "answer"]);
  return row !== undefined && NUMBER.test(row.answer) ? row : undefined;
}

function formOf(name: keyof typeof MINI_FORMS, form: MiniForm | undefined): MiniForm {
  const forms = MINI_FORMS[name];
  if (form !== undefined && !forms.includes(form))
    throw invalidArgument("form", `a form of ${name} (${forms.join(", ")})`, form);
  return form ?? forms[0]!;
}

function userTurn(content: string): ChatMessage[] {
  return [{ role: "user", content }];
}

function verdict(answer: string | undefined, target: string): Verdict {
  return { value: answer === target ? 1 : 0, answer: answer ?? null };
}

function choiceLines(doc: Choice): string {
  return LETTERS.map((letter, i) => `${letter}. ${doc.choices[i]}`).join("\n");
}
