/** The exact sentence and exit code that each mistake of a user gets. `<dir>` and `<model>` stand for the test's own paths. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BENCHMARK_NAMES } from "../../evals/index.js";
import { fileMistakes, flagMistakes, type Mistake, modelMistakes, permissionMistakes } from "./mistakes-cases.js";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

type Answers = Readonly<Record<string, readonly [code: number, sentence: string]>>;

const MODEL_ANSWERS: Answers = {
  "model that does not exist": [3, "Could not open the model <dir>/nowhere: it does not exist."],
  "folder without a model": [
    3,
    "Expected a model in <dir>/papers (config.json with .safetensors files, or a .gguf file), found notes.txt.",
  ],
  "empty folder": [3, "The model folder <dir>/empty is empty."],
  "file that is no model": [
    4,
    "Expected a model folder or a GGUF file, found <dir>/papers/notes.txt, which is neither.",
  ],
  "PyTorch pickle": [
    4,
    "<dir>/pytorch_model.bin is a PyTorch pickle, which can run code when it is read and is never loaded: take the safetensors files of the model, or convert it.",
  ],
  "one file of a folder": [4, "<model>/model.safetensors is one file of a model; give its folder, <model>."],
  "file that only calls itself GGUF": [3, 'Expected a GGUF file at <dir>/fake.gguf, whose first bytes are "GGUX".'],
  "git-lfs pointer": [
    3,
    '<dir>/lfs/model.safetensors is a git-lfs pointer, not the weights: run "git lfs pull" in its folder.',
  ],
  "half-downloaded weights": [
    3,
    "<dir>/half/model.safetensors is 7284392 bytes shorter than its header says (7384392): the download is incomplete.",
  ],
  "weights that are still downloading": [
    3,
    "<dir>/part holds no weights but model.safetensors.part: the download has not finished.",
  ],
  "shards without their index": [
    3,
    "<dir>/shards holds shards (model-00001-of-00002.safetensors) but no model.safetensors.index.json: download that file too.",
  ],
  "missing shard": [
    3,
    "1 of 1 shards that <dir>/shard-missing/model.safetensors.index.json lists are missing, the first is model-00001-of-00002.safetensors: the download is incomplete.",
  ],
  "config that is not JSON": [
    3,
    "Expected a key in double quotes at character 1 of the JSON in <dir>/json/config.json, found the end.",
  ],
  "config without weights": [
    3,
    "<dir>/no-weights holds config.json but no weights (no .safetensors file): the download is incomplete.",
  ],
  "weights without config": [3, "<dir>/no-config holds safetensors files but no config.json: download that file too."],
  "another architecture": [
    4,
    'Architecture "gpt2" of <dir>/gpt2/config.json is not supported; moescope computes qwen2_moe, mixtral, llama, qwen2 (see "add an architecture" in the docs).',
  ],
  "config of another size": [
    3,
    'Expected tensor "model.layers.0.mlp.experts.0.gate_proj.weight" of <dir>/wide to have shape [96, 128], as the config says, found [64, 128].',
  ],
  "type that is not computed": [
    4,
    'Tensor "model.embed_tokens.weight" of <dir>/dtype is stored as I32, which moescope does not compute with; it takes F32, F16, BF16 and the block types of ggml.',
  ],
  "no tokenizer": [3, "Expected a tokenizer.json in <dir>/no-tokenizer, got a folder without one."],
  "chat without a template": [
    2,
    "Expected a chat template in <dir>/no-template, got none: give one yourself, or use generate with a plain prompt.",
  ],
};
const FLAG_ANSWERS: Answers = {
  "unknown command": [2, "Unknown command 'genrate'; did you mean generate?"],
  "unknown flag": [2, "Unknown option '--max-token'; did you mean --max-tokens?"],
  "flag without its value": [2, "Expected a value for --max-tokens, got none."],
  "no model": [2, "Missing required argument 'model'. See moescope --help."],
  "an argument too many": [2, "Too many arguments for 'inspect'. Expected 1 argument but got 2. See moescope --help."],
  "number that is none": [2, 'Expected a whole number from 1 up for --max-tokens, got "many".'],
  "number below its range": [2, 'Expected a whole number from 1 up for --max-tokens, got "0".'],
  "fraction for a whole number": [2, 'Expected a whole number from 1 to 1024 for --threads, got "1.5".'],
  "top-p above 1": [2, 'Expected a number from 0 to 1 for --top-p, got "1.5".'],
  "negative temperature": [2, 'Expected a number from 0 to 1000 for --temperature, got "-1".'],
  "device that is not there": [2, 'Expected auto, cpu or cuda for --device, got "cdpu"; did you mean cpu?'],
  "cache type misspelt": [2, 'Expected f32, bf16, f16 or q8_0 for --cache-type, got "fp16"; did you mean f16?'],
  "rope scaling misspelt": [
    2,
    'Expected none, a factor of at least 1, or FACTOR:ORIGINAL such as 2:32768 for --rope-scaling, got "yarn".',
  ],
  "context above the model's": [
    2,
    "Expected at most the 1024 tokens of this model (--rope-scaling stretches them) for --max-context, got 4096.",
  ],
  "two prompts": [2, "Expected one of --prompt and --prompt-file, got both."],
  "no prompt at a terminal": [2, "Expected --prompt, --prompt-file or a text on stdin, got none."],
  "empty prompt": [2, "Expected a prompt of at least one token, got an empty one."],
  "trace level misspelt": [2, 'Expected counts, topk, logits or hidden for --level, got "logit"; did you mean logits?'],
  "trace without a text": [2, "Expected one of --file and --prompt, got neither."],
  "missing required option": [2, "Required option '--requests <file>' not specified. See moescope --help."],
  "unknown track": [2, 'Expected ref or qwen for --track, got "quen"; did you mean qwen?'],
};
const FILE_ANSWERS: Answers = {
  "missing prompt file": [3, "Could not read the prompt <dir>/nowhere.txt: it does not exist."],
  "folder for a prompt": [3, "Could not read the prompt <dir>: it is a folder."],
  "folder for requests": [3, "Could not read the requests <dir>: it is a folder."],
  "missing requests": [3, "Could not read the requests <dir>/nowhere.jsonl: it does not exist."],
  "answers into a missing folder": [3, "Could not write <dir>/no/a.jsonl: it does not exist."],
  "line that is not JSON": [
    2,
    "Expected JSON in line 2 of -: Expected ',' or '}' after property value in JSON at position 15.",
  ],
  "line without a continuation": [
    2,
    'Expected {id, context, continuation} or {id, contextIds, continuationIds} in line 3 of -, got {"context": "a"}.',
  ],
  "continuation of no tokens": [
    2,
    'Line 1 of - cannot be scored: Expected a continuation of at least one token after the context\'s own for a log-likelihood, got context "a" and continuation "".',
  ],
  "token beyond the vocabulary": [2, "Line 2 of - cannot be scored: Expected token ids from 0 to 2559, got 99999."],
  "request longer than the context": [
    5,
    "Line 2 of - cannot be scored: it needs 1100 positions, the model's context holds 1024.",
  ],
  "prompt longer than the context": [
    5,
    "The prompt has 2201 tokens, the model's context holds 1024: shorten it, or load with a larger --max-context.",
  ],
  "window above the context": [5, "The window has 5000 tokens, the model's context holds 1024."],
  "empty text": [2, "Expected a text in <dir>/empty.txt, the file is empty."],
  "answers onto a full disk": [5, "Could not write /dev/full: the disk is full."],
  "disk full": [5, "Could not write to stdout: the disk is full."],
  "trace into a folder in use": [1, "Expected a new or empty folder for the trace, <dir>/full holds x."],
  "trace into a file": [1, "Expected a folder for the trace, <dir>/f is a file."],
  "unknown task": [2, 'Expected benchmarks (<benchmarks>) for --tasks, got "mmul"; did you mean mmlu?'],
  "unknown variant": [2, 'Expected a variant of gsm8k (standard, cot) in track ref for tasks, got "gsm8k:nine".'],
  "missing data": [
    3,
    "Expected the files of MMLU in <dir>/data, mmlu/test/abstract_algebra_test.csv, mmlu/dev/abstract_algebra_dev.csv, mmlu/test/anatomy_test.csv and 111 more missing; to fetch them: moescope data get mmlu --dir <dir>/data",
  ],
  "resume of another run": [1, "Expected <dir>/full to be empty or a run, it holds x and no run.json."],
  "intervention that is not JSON": [
    2,
    "Expected JSON in --intervene: Expected property name or '}' in JSON at position 1.",
  ],
  "missing intervention file": [3, "Could not read the interventions <dir>/mask.json: it does not exist."],
  "intervention of no kind": [
    2,
    'Expected one of zero, mask, swap, bias, force, top-k, replay, callback for --intervene.kind, got "remove".',
  ],
  "layer that is not there": [2, "Expected MoE layers from 0 to 3 for mask, got layer 9."],
  "expert that is not there": [2, "Expected experts from 0 to 7 for mask, got 8."],
  "too few experts left": [2, "Layer 1 needs 2 experts, the masks leave 1 of 8."],
  "compare of no run": [3, "Could not read the run <dir>/a/run.json: it does not exist."],
};
const PERMISSION_ANSWERS: Answers = {
  "folder where nobody may write": [3, "Could not create the trace folder /sys/moescope: permission was denied."],
  "file that root alone may read": [3, "Could not read the prompt <dir>/locked.txt: permission was denied."],
};

/** Why a mistake cannot be made here. */
function impossible(name: string): string | undefined {
  if (name === "answers onto a full disk" && !existsSync("/dev/full")) return "/dev/full is not there";
  if (name === "folder where nobody may write" && !existsSync("/sys/kernel")) return "/sys is not there";
  if (name === "file that root alone may read" && process.getuid?.() === 0) return "root may read every file";
  return undefined;
}

/** The sentence without this run's paths, the benchmarks of the day, and what newer versions of Node add to JSON's faults. */
function withoutPlaces(said: string, folder: string): string {
  return said
    .replaceAll(folder, "<dir>")
    .replaceAll(seededModel(), "<model>")
    .replaceAll(BENCHMARK_NAMES.join(", "), "<benchmarks>")
    .replace(/ \(line \d+ column \d+\)/, "");
}

function answersTo(title: string, makeMistakes: (folder: string) => Record<string, Mistake>, answers: Answers): void {
  describe(title, () => {
    const folder = join(temporaryFolder(), "x");
    mkdirSync(folder);
    const mistakes = makeMistakes(folder);

    it.for(Object.keys(mistakes))("%s", async (name, context) => {
      const reason = impossible(name);
      if (reason !== undefined) context.skip(reason);
      const { code, stderr } = await runCli(mistakes[name]!.argv, mistakes[name]!.input);
      expect([code, withoutPlaces(stderr, folder)]).toEqual([answers[name]?.[0], `${answers[name]?.[1]}\n`]);
    });

    it("has an answer to nothing else", () => {
      expect(Object.keys(answers).sort()).toEqual(Object.keys(mistakes).sort());
    });
  });
}

answersTo("models", modelMistakes, MODEL_ANSWERS);
answersTo("flags", flagMistakes, FLAG_ANSWERS);
answersTo("files, limits and interventions", fileMistakes, FILE_ANSWERS);
answersTo("permissions", permissionMistakes, PERMISSION_ANSWERS);
