import type {
  ChatMessage,
  DataText,
  Group,
  LoadedTask,
  PromptForm,
  Sample,
  SampleRequest,
  Selection,
  Task,
  Track,
  Verdict,
} from "../src/index.js";
import {
  cevalChoice,
  chatPrompt,
  choiceContinuation,
  csvRows,
  dataFolder,
  GREEDY,
  generatedText,
  greedyChoice,
  invalidArgument,
  MoescopeError,
  pythonStrip,
  readArchive,
  selectSamples,
  textPrompt,
} from "../src/index.js";

/**
 * C-Eval: Huang et al., "C-Eval: A Multi-Level Multi-Discipline Chinese Evaluation Suite" (arXiv 2305.08322). Four-way questions in 52
 * subjects: 1,346 in `val`, 12,342 in `test`, whose answers the authors keep; five worked examples of each subject in `dev`.
 *
 * Track `ref`: lm-evaluation-harness 0.4.13, group `ceval-valid` version 2: the likeliest of " A" " B" " C" " D". (Its acc_norm is the
 * same number: all choices are one letter long.) The harness's own default is 0 shots; 5 is what papers report.
 * Track `qwen`: `eval/evaluate_chat_ceval.py` of QwenLM/Qwen at 2df8e8a, which Qwen's maintainers name: no examples, greedy, a letter
 * read from the answer, the mean over subjects. Where it finds no letter it guesses; how often is a metric of its own.
 */
export interface CevalOptions extends Selection {
  /** The folder that holds `ceval/ceval-exam.zip`, or that archive unpacked to `ceval/`; default `MOESCOPE_DATA`, or what `moescope data get` brought. */
  dataDir?: string;
  track?: Track;
  /** `val` (default) has answers; `test` mostly has none: it leaves a submission file, and a score where the file has answers. */
  split?: CevalSplit;
  /** Only these subjects, as the files spell them. */
  subjects?: readonly string[];
  /** Worked examples, the first rows of `dev`: 0 to 5. Track `ref` only. */
  numFewshot?: number;
  /** How the prompt is put. Track `ref` only; `qwen` is always a conversation. */
  form?: PromptForm;
  /** Limit of an answer's tokens. Track `qwen` only. */
  maxTokens?: number;
}

export type CevalSplit = "val" | "test";

const LETTERS = ["A", "B", "C", "D"] as const;

const REF_DESCRIPTION = (name: string): string => `以下是中国关于${name}的单项选择题，请选出其中的正确答案。\n\n`;
const REF_QUESTION = (doc: Ceval): string => `${pythonStrip(doc.question)}\n${choiceLines(doc)}\n答案：`;
const QWEN_QUESTION = (doc: Ceval): string => `${doc.question}\n\n${choiceLines(doc)}\n`;

const OFFICIAL_ROWS: Readonly<Record<CevalSplit, number>> = { val: 1346, test: 12_342 };
const ARCHIVE = "ceval/ceval-exam.zip";
const SOURCE = "https://huggingface.co/datasets/ceval/ceval-exam/resolve/main/ceval-exam.zip";

/** The four categories; each subject as the files spell it and as prompts name it. Together all 52. */
const SUBJECTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  stem: {
    ...{ computer_network: "计算机网络", operating_system: "操作系统", computer_architecture: "计算机组成" },
    ...{ college_programming: "大学编程", college_physics: "大学物理", college_chemistry: "大学化学" },
    ...{ advanced_mathematics: "高等数学", probability_and_statistics: "概率统计", discrete_mathematics: "离散数学" },
    ...{ electrical_engineer: "注册电气工程师", metrology_engineer: "注册计量师", veterinary_medicine: "兽医学" },
    ...{ high_school_mathematics: "高中数学", high_school_physics: "高中物理", high_school_chemistry: "高中化学" },
    ...{ high_school_biology: "高中生物", middle_school_mathematics: "初中数学", middle_school_biology: "初中生物" },
    ...{ middle_school_physics: "初中物理", middle_school_chemistry: "初中化学" },
  },
  social_science: {
    ...{ college_economics: "大学经济学", business_administration: "工商管理", marxism: "马克思主义基本原理" },
    ...{ mao_zedong_thought: "毛泽东思想和中国特色社会主义理论体系概论", education_science: "教育学" },
    ...{ teacher_qualification: "教师资格", high_school_politics: "高中政治", high_school_geography: "高中地理" },
    ...{ middle_school_politics: "初中政治", middle_school_geography: "初中地理" },
  },
  humanities: {
    ...{ modern_chinese_history: "近代史纲要", ideological_and_moral_cultivation: "思想道德修养与法律基础" },
    ...{ logic: "逻辑学", law: "法学", chinese_language_and_literature: "中国语言文学", art_studies: "艺术学" },
    ...{ professional_tour_guide: "导游资格", legal_professional: "法律职业资格", high_school_chinese: "高中语文" },
    ...{ high_school_history: "高中历史", middle_school_history: "初中历史" },
  },
  other: {
    ...{ civil_servant: "公务员", sports_science: "体育学", plant_protection: "植物保护", basic_medicine: "基础医学" },
    ...{ clinical_medicine: "临床医学", urban_and_rural_planner: "注册城乡规划师", accountant: "注册会计师" },
    ...{ fire_engineer: "注册消防工程师", environmental_impact_assessment_engineer: "环境影响评价工程师" },
    ...{ tax_accountant: "税务师", physician: "医师资格" },
  },
};

const NAMES: Readonly<Record<string, string>> = Object.assign({}, ...Object.values(SUBJECTS));

/** The eight subjects of C-Eval Hard. */
const HARD: readonly string[] = [
  ..."advanced_mathematics discrete_mathematics probability_and_statistics college_physics college_chemistry".split(
    " ",
  ),
  ..."high_school_mathematics high_school_physics high_school_chemistry".split(" "),
];

export interface Ceval {
  /** The row's number in its file: what a submission calls it. */
  id: string;
  subject: string;
  question: string;
  choices: string[];
  /** The right letter; undefined where the file has none. */
  answer: string | undefined;
}

/** The task; nothing is read before it runs. Split `test` is named "ceval-test". */
export function ceval(options: CevalOptions = {}): Task<Ceval> {
  const { track = "ref", split = "val", numFewshot = 5, form = "text", maxTokens = 1024 } = options;
  if (!Number.isInteger(numFewshot) || numFewshot < 0 || numFewshot > 5) {
    throw invalidArgument("numFewshot", "a whole number from 0 to 5, the rows of dev", numFewshot);
  }
  const subjects = knownSubjects(options.subjects);
  const chosen = {
    split,
    subjects: options.subjects === undefined ? "all" : subjects,
    limit: options.limit ?? null,
    sampleIds: options.sampleIds ?? null,
  };
  const common = {
    name: split === "val" ? "ceval" : "ceval-test",
    track,
    version: "1",
    ...(split === "test" ? { submission } : {}),
  };
  return track === "ref"
    ? {
        ...common,
        settings: { protocol: "lm-evaluation-harness 0.4.13, ceval-valid 2", numFewshot, form, ...chosen },
        metrics: [{ name: "acc", scorer: "acc", average: "micro" }],
        load: () => load(options, split, subjects, (shots) => refTask(shots, numFewshot, form)),
      }
    : {
        ...common,
        settings: {
          protocol: "Qwen 2df8e8a, evaluate_chat_ceval.py",
          numFewshot: 0,
          maxTokens,
          sampling: { ...GREEDY },
          ...chosen,
        },
        metrics: [
          { name: "accuracy, mean over subjects", scorer: "accuracy", average: "macro" },
          { name: "accuracy, mean over questions", scorer: "accuracy", average: "micro" },
          { name: "C-Eval Hard, mean over subjects", scorer: "hard", average: "macro" },
          { name: "guessed where no letter was found", scorer: "guessed", average: "micro" },
        ],
        load: () => load(options, split, subjects, () => qwenTask(maxTokens)),
      };
}

type Protocol = Pick<LoadedTask<Ceval>, "requests" | "score">;
type Shots = ReadonlyMap<string, readonly Ceval[]>;

function refTask(shots: Shots, numFewshot: number, form: PromptForm): Protocol {
  const prompt = (doc: Ceval): string | ChatMessage[] => {
    const parts = {
      description: REF_DESCRIPTION(NAMES[doc.subject]!),
      shots: shots
        .get(doc.subject)!
        .slice(0, numFewshot)
        .map((shot) => ({ text: REF_QUESTION(shot), target: shot.answer! })),
      question: REF_QUESTION(doc),
    };
    return form === "text" ? textPrompt(parts) : chatPrompt(parts, form);
  };
  return {
    requests: ({ doc }): SampleRequest[] => {
      const context = prompt(doc);
      return LETTERS.map((letter) => ({
        kind: "loglikelihood",
        context,
        continuation: choiceContinuation(letter, form),
      }));
    },
    score: ({ doc }, responses) => ({ acc: verdict(LETTERS[greedyChoice(responses)]!, doc) }),
  };
}

function qwenTask(maxTokens: number): Protocol {
  return {
    requests: ({ doc }): SampleRequest[] => {
      const messages: ChatMessage[] = [{ role: "user", content: QWEN_QUESTION(doc) }];
      return [{ kind: "chat", messages, stop: [], maxTokens, sampling: GREEDY }];
    },
    score: ({ doc }, [response]) => {
      const { letter, isGuess } = cevalChoice(generatedText(response), doc);
      const accuracy = {
        ...verdict(letter, doc),
        ...(isGuess ? { note: "no letter found: a guess by likeness" } : {}),
      };
      return {
        accuracy,
        ...(HARD.includes(doc.subject) ? { hard: accuracy } : {}),
        guessed: { value: isGuess ? 1 : 0, answer: letter },
      };
    },
  };
}

/** Right or wrong; without an official answer, neither. */
function verdict(letter: string, doc: Ceval): Verdict {
  if (doc.answer === undefined) return { value: null, answer: letter, note: "the official answer is not public" };
  return { value: letter === doc.answer ? 1 : 0, answer: letter };
}

/** The letters by subject and row, as C-Eval's `submission_example.json` has them. */
function submission(answers: Parameters<NonNullable<Task["submission"]>>[0]): Record<string, Record<string, string>> {
  const bySubject: Record<string, Record<string, string>> = {};
  for (const { sampleId, scores } of answers) {
    const [subject, row] = sampleId.split("/") as [string, string];
    const letter = (scores.acc ?? scores.accuracy)?.answer;
    bySubject[subject] ??= {};
    if (letter != null) bySubject[subject][row] = letter;
  }
  return bySubject;
}

async function load(
  options: CevalOptions,
  split: CevalSplit,
  subjects: readonly string[],
  protocol: (shots: Shots) => Protocol,
): Promise<LoadedTask<Ceval>> {
  const folder = dataFolder("C-Eval", "ceval", options.dataDir);
  const path = (part: string, subject: string): string => `${part}/${subject}_${part}.csv`;
  const names = subjects.flatMap((subject) => [path(split, subject), path("dev", subject)]);
  const texts = await readArchive(folder, ARCHIVE, names);
  const read = (part: string, subject: string) => {
    const text = texts.get(path(part, subject))!;
    const docs = cevalDocs(text, subject, part);
    return { docs, file: { path: text.path, rows: docs.length, sha256: text.sha256 } };
  };
  const questions = subjects.map((subject) => read(split, subject));
  const devs = subjects.map((subject) => read("dev", subject));
  const samples = questions.flatMap(({ docs }) => docs.map(cevalSample));
  return {
    dataset: {
      name: "C-Eval",
      licence: "CC BY-NC-SA 4.0",
      source: SOURCE,
      split,
      files: [...questions, ...devs].map(({ file }) => file),
      rows: samples.length,
      officialRows: options.subjects === undefined ? OFFICIAL_ROWS[split] : undefined,
    },
    samples: selectSamples(samples, options),
    groups: groupsOf(subjects),
    ...protocol(new Map(subjects.map((subject, i) => [subject, devs[i]!.docs.slice(0, 5)]))),
  };
}

const COLUMNS = ["id", "question", ...LETTERS];

/** The rows of one file. `test` has no column `answer`, or since July 2025 may have one. */
function cevalDocs({ path, text }: DataText, subject: string, part: string): Ceval[] {
  const header = text.slice(0, text.search(/\r?\n/)).replace("\uFEFF", "").split(",");
  const expected = part === "dev" ? [...COLUMNS, "answer", "explanation"] : [...COLUMNS, "answer"];
  const isLabelled = header.join() === expected.join();
  if (!isLabelled && !(part === "test" && header.join() === COLUMNS.join())) {
    throw new MoescopeError("BAD_FILE", `Expected the columns ${expected} in ${path}, got ${header.join()}.`);
  }
  const docs = csvRows(text, header.length, path)
    .slice(1)
    .map(([id, question, ...cells]): Ceval => {
      return { id: id!, subject, question: question!, choices: cells.slice(0, 4), answer: cells[4] };
    });
  const wrong = docs.findIndex(({ answer }) => isLabelled && !LETTERS.includes(answer as (typeof LETTERS)[number]));
  if (wrong >= 0) {
    const answer = JSON.stringify(docs[wrong]!.answer);
    throw new MoescopeError(
      "BAD_FILE",
      `Expected A, B, C or D as the answer of row ${wrong + 1} of ${path}, got ${answer}.`,
    );
  }
  if (new Set(docs.map(({ id }) => id)).size < docs.length) {
    throw new MoescopeError("BAD_FILE", `Expected another id in every row of ${path}, got one twice.`);
  }
  return docs;
}

function cevalSample(doc: Ceval): Sample<Ceval> {
  return {
    id: `${doc.subject}/${doc.id}`,
    group: doc.subject,
    input: `${doc.question}\n${choiceLines(doc)}`,
    target: doc.answer ?? "",
    doc,
  };
}

function groupsOf(subjects: readonly string[]): Group {
  const children = Object.entries(SUBJECTS)
    .map(([name, members]) => ({
      name,
      children: Object.keys(members)
        .filter((subject) => subjects.includes(subject))
        .map((subject) => ({ name: subject })),
    }))
    .filter((group) => group.children.length > 0);
  return { name: "ceval", children };
}

function knownSubjects(wanted: readonly string[] | undefined): readonly string[] {
  const all = Object.keys(NAMES).sort();
  const unknown = wanted?.find((subject) => !all.includes(subject));
  if (unknown !== undefined) throw invalidArgument("subjects", `subjects of C-Eval (${all.join(", ")})`, unknown);
  return all.filter((subject) => wanted?.includes(subject) ?? true);
}

function choiceLines(doc: Ceval): string {
  return LETTERS.map((letter, i) => `${letter}. ${doc.choices[i]}`).join("\n");
}
