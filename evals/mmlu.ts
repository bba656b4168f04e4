import type {
  ChatMessage,
  Group,
  LoadedTask,
  PromptForm,
  Sample,
  SampleRequest,
  Selection,
  Task,
  Track,
} from "../src/index.js";
import {
  chatPrompt,
  choiceContinuation,
  dataFolder,
  firstOption,
  GREEDY,
  generatedText,
  greedyChoice,
  invalidArgument,
  MoescopeError,
  pythonStrip,
  readCsv,
  requireFiles,
  selectSamples,
  textPrompt,
} from "../src/index.js";

/**
 * MMLU: Hendrycks et al., "Measuring Massive Multitask Language Understanding" (arXiv 2009.03300). 14,042 four-way questions in
 * 57 subjects, five worked examples of the same subject before each.
 *
 * Track `ref`: lm-evaluation-harness 0.4.13, task `mmlu` 1.0, group version 2: the likeliest of " A" " B" " C" " D" after the prompt.
 * The harness's own default is 0 shots; 5 is what papers report.
 * Track `qwen`: OpenCompass `mmlu_gen_a484b3` at 26d077b with the chat template, which Qwen's maintainers name: greedy generation,
 * then `first_option_postprocess`. OpenCompass prints the mean over subjects; which mean Qwen printed is not known, so both are here.
 */
export interface MmluOptions extends Selection {
  /** The folder that holds `mmlu/test/*.csv` and `mmlu/dev/*.csv`; default `MOESCOPE_DATA`, or what `moescope data get` brought. */
  dataDir?: string;
  track?: Track;
  /** Only these subjects, as the files spell them. */
  subjects?: readonly string[];
  /** Worked examples, the first rows of `dev`: 0 to 5. Track `ref` only. */
  numFewshot?: number;
  /** How the prompt is put. Track `ref` only; `qwen` is always a conversation. */
  form?: PromptForm;
  /** Limit of an answer's tokens. Track `qwen` only. */
  maxTokens?: number;
}

const LETTERS = ["A", "B", "C", "D"] as const;

const REF_DESCRIPTION = (subject: string): string =>
  `The following are multiple choice questions (with answers) about ${subject}.\n\n`;
const REF_QUESTION = (doc: Mmlu): string => `${pythonStrip(doc.question)}\n${choiceLines(doc)}\nAnswer:`;

const QWEN_HINT = (subject: string): string =>
  `There is a single choice question about ${subject}. Answer the question by replying A, B, C or D.`;
// The question's "Q:" and "A:" differ from the shots' "Question:" and "Answer:": so does the original.
const QWEN_SHOT = (doc: Mmlu): string =>
  `${QWEN_HINT(spaced(doc.subject))}\nQuestion: ${doc.question}\n${choiceLines(doc)}\nAnswer: `;
const QWEN_QUESTION = (doc: Mmlu): string =>
  `${QWEN_HINT(spaced(doc.subject))}\nQ: ${doc.question}\n${choiceLines(doc)}\nA: `;

const OFFICIAL_ROWS = 14_042;

/** The four groups of the harness and their subjects; together all 57. */
const SUBJECTS: Readonly<Record<string, readonly string[]>> = {
  stem: [
    ..."abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science".split(" "),
    ..."college_mathematics college_physics computer_security conceptual_physics electrical_engineering".split(" "),
    ..."elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science".split(" "),
    ..."high_school_mathematics high_school_physics high_school_statistics machine_learning".split(" "),
  ],
  other: [
    ..."business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing".split(" "),
    ..."medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology".split(" "),
  ],
  social_sciences: [
    ..."econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics".split(" "),
    ..."high_school_microeconomics high_school_psychology human_sexuality professional_psychology".split(" "),
    ..."public_relations security_studies sociology us_foreign_policy".split(" "),
  ],
  humanities: [
    ..."formal_logic high_school_european_history high_school_us_history high_school_world_history".split(" "),
    ..."international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy".split(" "),
    ..."prehistory professional_law world_religions".split(" "),
  ],
};

export interface Mmlu {
  subject: string;
  question: string;
  choices: string[];
  /** Index of the right choice. */
  answer: number;
}

/** The task; nothing is read before it runs. */
export function mmlu(options: MmluOptions = {}): Task<Mmlu> {
  const { track = "ref", numFewshot = 5, form = "text", maxTokens = 1024 } = options;
  if (!Number.isInteger(numFewshot) || numFewshot < 0 || numFewshot > 5) {
    throw invalidArgument("numFewshot", "a whole number from 0 to 5, the rows of dev", numFewshot);
  }
  const subjects = knownSubjects(options.subjects);
  const chosen = {
    subjects: options.subjects === undefined ? "all" : subjects,
    limit: options.limit ?? null,
    sampleIds: options.sampleIds ?? null,
  };
  const common = { name: "mmlu", track, version: "1" };
  return track === "ref"
    ? {
        ...common,
        settings: { protocol: "lm-evaluation-harness 0.4.13, mmlu 1.0", numFewshot, form, ...chosen },
        metrics: [{ name: "acc", scorer: "acc", average: "micro" }],
        load: () => load(options, subjects, (shots) => refTask(shots, numFewshot, form)),
      }
    : {
        ...common,
        settings: {
          protocol: "OpenCompass 26d077b, mmlu_gen_a484b3",
          numFewshot: 5,
          maxTokens,
          sampling: { ...GREEDY },
          ...chosen,
        },
        metrics: [
          { name: "accuracy, mean over subjects", scorer: "accuracy", average: "macro" },
          { name: "accuracy, mean over questions", scorer: "accuracy", average: "micro" },
        ],
        load: () => load(options, subjects, (shots) => qwenTask(shots, maxTokens)),
      };
}

type Protocol = Pick<LoadedTask<Mmlu>, "requests" | "score">;
type Shots = ReadonlyMap<string, readonly Mmlu[]>;

function refTask(shots: Shots, numFewshot: number, form: PromptForm): Protocol {
  const prompt = (doc: Mmlu): string | ChatMessage[] => {
    const parts = {
      description: REF_DESCRIPTION(spaced(doc.subject)),
      shots: shots
        .get(doc.subject)!
        .slice(0, numFewshot)
        .map((shot) => ({ text: REF_QUESTION(shot), target: LETTERS[shot.answer]! })),
      question: REF_QUESTION(doc),
    };
    return form === "text" ? textPrompt(parts) : chatPrompt(parts, form);
  };
  return {
    requests: (sample): SampleRequest[] => {
      const context = prompt(sample.doc);
      return LETTERS.map((letter) => ({
        kind: "loglikelihood",
        context,
        continuation: choiceContinuation(letter, form),
      }));
    },
    score: (sample, responses) => {
      const choice = greedyChoice(responses);
      return { acc: { value: choice === sample.doc.answer ? 1 : 0, answer: LETTERS[choice]! } };
    },
  };
}

function qwenTask(shots: Shots, maxTokens: number): Protocol {
  return {
    requests: ({ doc }): SampleRequest[] => {
      const examples = shots.get(doc.subject)!.flatMap((shot): ChatMessage[] => [
        { role: "user", content: QWEN_SHOT(shot) },
        { role: "assistant", content: `${LETTERS[shot.answer]}\n` },
      ]);
      const messages: ChatMessage[] = [...examples, { role: "user", content: QWEN_QUESTION(doc) }];
      return [{ kind: "chat", messages, stop: [], maxTokens, sampling: GREEDY }];
    },
    score: (sample, [response]) => {
      const answer = firstOption(generatedText(response), LETTERS.join(""));
      return { accuracy: { value: answer === LETTERS[sample.doc.answer] ? 1 : 0, answer } };
    },
  };
}

async function load(
  options: MmluOptions,
  subjects: readonly string[],
  protocol: (shots: Shots) => Protocol,
): Promise<LoadedTask<Mmlu>> {
  const folder = dataFolder("MMLU", "mmlu", options.dataDir);
  const path = (split: string, subject: string): string => `mmlu/${split}/${subject}_${split}.csv`;
  await requireFiles(
    folder,
    subjects.flatMap((subject) => [path("test", subject), path("dev", subject)]),
  );
  const read = async (split: string, subject: string) => {
    const { rows, file } = await readCsv(folder, path(split, subject), 6);
    return { docs: rows.map((row, i) => mmluDoc(row, subject, `row ${i + 1} of ${folder.root}/${file.path}`)), file };
  };
  const tests = await Promise.all(subjects.map((subject) => read("test", subject)));
  const devs = await Promise.all(subjects.map((subject) => read("dev", subject)));
  const samples = tests.flatMap(({ docs }) => docs.map(mmluSample));
  return {
    dataset: {
      name: "MMLU",
      licence: "MIT",
      source: "https://people.eecs.berkeley.edu/~hendrycks/data.tar",
      split: "test",
      files: [...tests, ...devs].map(({ file }) => file),
      rows: samples.length,
      officialRows: options.subjects === undefined ? OFFICIAL_ROWS : undefined,
    },
    samples: selectSamples(samples, options),
    groups: groupsOf(subjects),
    ...protocol(new Map(subjects.map((subject, i) => [subject, devs[i]!.docs.slice(0, 5)]))),
  };
}

function mmluDoc(row: readonly string[], subject: string, where: string): Mmlu {
  const answer = LETTERS.indexOf(row[5] as (typeof LETTERS)[number]);
  if (answer < 0)
    throw new MoescopeError("BAD_FILE", `Expected A, B, C or D as the last cell of ${where}, got "${row[5]}".`);
  return { subject, question: row[0]!, choices: row.slice(1, 5), answer };
}

function mmluSample(doc: Mmlu, index: number): Sample<Mmlu> {
  return {
    id: `${doc.subject}/${index}`,
    group: doc.subject,
    input: `${doc.question}\n${choiceLines(doc)}`,
    target: LETTERS[doc.answer]!,
    doc,
  };
}

function groupsOf(subjects: readonly string[]): Group {
  const children = Object.entries(SUBJECTS)
    .map(([name, members]) => ({
      name,
      children: members.filter((s) => subjects.includes(s)).map((s) => ({ name: s })),
    }))
    .filter((group) => group.children.length > 0);
  return { name: "mmlu", children };
}

function knownSubjects(wanted: readonly string[] | undefined): readonly string[] {
  const all = Object.values(SUBJECTS).flat().sort();
  const unknown = wanted?.find((subject) => !all.includes(subject));
  if (unknown !== undefined) throw invalidArgument("subjects", `subjects of MMLU (${all.join(", ")})`, unknown);
  return all.filter((subject) => wanted?.includes(subject) ?? true);
}

function choiceLines(doc: Mmlu): string {
  return LETTERS.map((letter, i) => `${letter}. ${doc.choices[i]}`).join("\n");
}

function spaced(subject: string): string {
  return subject.replaceAll("_", " ");
}
