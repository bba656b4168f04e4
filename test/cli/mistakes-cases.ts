/** Mistakes that users make, each as the command line that makes it. `mistakes.test.ts` has the sentence that each gets. */

import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { writeProblems } from "./eval-data.js";
import type { CliInput } from "./run-cli.js";
import { seededModel } from "./seeded.js";

export interface Mistake {
  argv: string[];
  input?: CliInput;
}

/** A copy of the seeded model in which `spoil` has changed something. */
function spoilt(folder: string, name: string, spoil: (model: string) => void): string {
  const model = join(folder, name);
  cpSync(seededModel(), model, { recursive: true });
  spoil(model);
  return model;
}

function changeConfig(model: string, changes: Record<string, unknown>): void {
  const path = join(model, "config.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...changes }));
}

/** Replaces words in the header of model.safetensors by others of the same length. */
function changeHeader(model: string, from: string, to: string): void {
  const path = join(model, "model.safetensors");
  const bytes = readFileSync(path);
  const at = bytes.indexOf(from);
  bytes.write(to, at);
  writeFileSync(path, bytes);
}

/** Stdout on a disk that is full. */
function fullDisk(): Writable {
  return new Writable({
    write(_chunk, _encoding, done) {
      done(Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" }));
    },
  });
}

/** Model folders and files that are not what they should be. */
export function modelMistakes(folder: string): Record<string, Mistake> {
  const inspect = (model: string, ...more: string[]): Mistake => ({ argv: ["inspect", model, ...more] });
  const papers = join(folder, "papers");
  mkdirSync(papers);
  const notes = join(papers, "notes.txt");
  writeFileSync(notes, "not a model\n");
  const pickle = join(folder, "pytorch_model.bin");
  writeFileSync(pickle, "x");
  const fakeGguf = join(folder, "fake.gguf");
  writeFileSync(fakeGguf, "GGUX");
  const lfs = join(folder, "lfs");
  mkdirSync(lfs);
  writeFileSync(join(lfs, "config.json"), readFileSync(join(seededModel(), "config.json")));
  writeFileSync(join(lfs, "model.safetensors"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  mkdirSync(join(folder, "empty"));
  return {
    "model that does not exist": inspect(join(folder, "nowhere")),
    "folder without a model": inspect(papers),
    "empty folder": inspect(join(folder, "empty")),
    "file that is no model": inspect(notes),
    "PyTorch pickle": inspect(pickle),
    "one file of a folder": inspect(join(seededModel(), "model.safetensors")),
    "file that only calls itself GGUF": inspect(fakeGguf),
    "git-lfs pointer": inspect(lfs),
    "half-downloaded weights": inspect(
      spoilt(folder, "half", (model) => truncateSync(join(model, "model.safetensors"), 100_000)),
    ),
    "weights that are still downloading": inspect(
      spoilt(folder, "part", (model) => {
        rmSync(join(model, "model.safetensors"));
        rmSync(join(model, "config.json"));
        writeFileSync(join(model, "model.safetensors.part"), "x");
      }),
    ),
    "shards without their index": inspect(
      spoilt(folder, "shards", (model) => {
        cpSync(join(model, "model.safetensors"), join(model, "model-00001-of-00002.safetensors"));
        rmSync(join(model, "model.safetensors"));
      }),
    ),
    "missing shard": inspect(
      spoilt(folder, "shard-missing", (model) => {
        const weightMap = { "lm_head.weight": "model-00001-of-00002.safetensors" };
        rmSync(join(model, "model.safetensors"));
        writeFileSync(join(model, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
      }),
    ),
    "config that is not JSON": inspect(
      spoilt(folder, "json", (model) => writeFileSync(join(model, "config.json"), "{")),
    ),
    "config without weights": inspect(
      spoilt(folder, "no-weights", (model) => rmSync(join(model, "model.safetensors"))),
    ),
    "weights without config": inspect(spoilt(folder, "no-config", (model) => rmSync(join(model, "config.json")))),
    "another architecture": inspect(spoilt(folder, "gpt2", (model) => changeConfig(model, { model_type: "gpt2" }))),
    "config of another size": inspect(
      spoilt(folder, "wide", (model) => changeConfig(model, { moe_intermediate_size: 96 })),
    ),
    "type that is not computed": inspect(
      spoilt(folder, "dtype", (model) => changeHeader(model, '"F32","shape":[2560,128]', '"I32","shape":[2560,128]')),
    ),
    "no tokenizer": {
      argv: [
        "generate",
        spoilt(folder, "no-tokenizer", (model) => rmSync(join(model, "tokenizer.json"))),
        ...["--prompt", "hi"],
      ],
    },
    "chat without a template": {
      argv: [
        "chat",
        spoilt(folder, "no-template", (model) => writeFileSync(join(model, "tokenizer_config.json"), "{}")),
        ...["--message", "hi"],
      ],
    },
  };
}

/** Flags and values that cannot be meant. */
export function flagMistakes(): Record<string, Mistake> {
  const generate = (...more: string[]): Mistake => ({ argv: ["generate", seededModel(), "--prompt", "hi", ...more] });
  return {
    "unknown command": { argv: ["genrate", "demo"] },
    "unknown flag": generate("--max-token", "3"),
    "flag without its value": generate("--max-tokens"),
    "no model": { argv: ["inspect"] },
    "an argument too many": { argv: ["inspect", "demo", "demo"] },
    "number that is none": generate("--max-tokens", "many"),
    "number below its range": generate("--max-tokens", "0"),
    "fraction for a whole number": generate("--threads", "1.5"),
    "top-p above 1": generate("--top-p", "1.5"),
    "negative temperature": generate("--temperature", "-1"),
    "device that is not there": generate("--device", "cdpu"),
    "cache type misspelt": generate("--cache-type", "fp16"),
    "rope scaling misspelt": generate("--rope-scaling", "yarn"),
    "context above the model's": generate("--max-context", "4096"),
    "two prompts": generate("--prompt-file", "x"),
    "no prompt at a terminal": { argv: ["generate", seededModel()] },
    "empty prompt": { argv: ["generate", seededModel(), "--prompt", ""] },
    "trace level misspelt": { argv: ["trace", seededModel(), "--prompt", "hi", "--out", "x", "--level", "logit"] },
    "trace without a text": { argv: ["trace", seededModel(), "--out", "/tmp/never-made"] },
    "missing required option": { argv: ["score", seededModel()] },
    "unknown track": { argv: ["eval", seededModel(), "--tasks", "mmlu", "--out", "x", "--track", "quen"] },
  };
}

/** Files, limits, data and interventions. */
export function fileMistakes(folder: string): Record<string, Mistake> {
  const model = seededModel();
  const text = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const score = (stdin: string): Mistake => ({ argv: ["score", model, "--requests", "-"], input: { stdin } });
  const data = writeProblems(join(folder, "data"), 3);
  const run = (...more: string[]): Mistake => ({
    argv: ["eval", model, "--data", data, "--out", join(folder, `run${more.length}`), "--num-fewshot", "0", ...more],
  });
  const steered = (intervention: string): Mistake => run("--tasks", "gsm8k", "--intervene", intervention);
  const full = join(folder, "full");
  mkdirSync(full);
  writeFileSync(join(full, "x"), "");
  const good = '{"contextIds": [1], "continuationIds": [2]}';
  return {
    "folder for a prompt": { argv: ["generate", model, "--prompt-file", folder] },
    "folder for requests": { argv: ["score", model, "--requests", folder] },
    "missing prompt file": { argv: ["generate", model, "--prompt-file", join(folder, "nowhere.txt")] },
    "missing requests": { argv: ["score", model, "--requests", join(folder, "nowhere.jsonl")] },
    "answers into a missing folder": {
      argv: ["score", model, "--requests", text("r.jsonl", good), "--out", join(folder, "no", "a.jsonl")],
    },
    "line that is not JSON": score(`${good}\n{"context": "a"\n`),
    "line without a continuation": score(`${good}\n\n{"context": "a"}\n`),
    "continuation of no tokens": score('{"context": "a", "continuation": ""}'),
    "token beyond the vocabulary": score(`${good}\n{"contextIds": [99999], "continuationIds": [2]}`),
    "request longer than the context": score(
      `${good}\n${JSON.stringify({ contextIds: Array(1100).fill(5), continuationIds: [2] })}`,
    ),
    "prompt longer than the context": { argv: ["generate", model, "--prompt", "cat ".repeat(1100)] },
    "window above the context": {
      argv: ["perplexity", model, "--file", text("t.txt", "some text"), "--window", "5000"],
    },
    "empty text": { argv: ["perplexity", model, "--file", text("empty.txt", "")] },
    "answers onto a full disk": { argv: ["score", model, "--requests", join(folder, "r.jsonl"), "--out", "/dev/full"] },
    "disk full": { argv: ["generate", model, "--prompt", "hi", "--json"], input: { stdout: fullDisk() } },
    "trace into a folder in use": { argv: ["trace", model, "--prompt", "hi", "--out", full] },
    "trace into a file": { argv: ["trace", model, "--prompt", "hi", "--out", text("f", "")] },
    "unknown task": run("--tasks", "mmul"),
    "unknown variant": run("--tasks", "gsm8k:nine"),
    "missing data": run("--tasks", "mmlu"),
    "resume of another run": {
      argv: ["eval", model, "--tasks", "gsm8k", "--data", data, "--num-fewshot", "0", "--out", full, "--resume"],
    },
    "intervention that is not JSON": steered("{layers: [1]}"),
    "missing intervention file": steered(join(folder, "mask.json")),
    "intervention of no kind": steered('{"kind": "remove", "layers": [1]}'),
    "layer that is not there": steered('{"kind": "mask", "layers": [9], "experts": [1]}'),
    "expert that is not there": steered('{"kind": "mask", "layers": [1], "experts": [8]}'),
    "too few experts left": steered('{"kind": "mask", "layers": [1], "experts": [0,1,2,3,4,5,6]}'),
    "compare of no run": { argv: ["compare", join(folder, "a"), join(folder, "b")] },
  };
}

/** Places where nobody may write, and a file that only root may read. */
export function permissionMistakes(folder: string): Record<string, Mistake> {
  const locked = join(folder, "locked.txt");
  writeFileSync(locked, "x");
  chmodSync(locked, 0o000);
  return {
    "folder where nobody may write": { argv: ["trace", seededModel(), "--prompt", "hi", "--out", "/sys/moescope"] },
    "file that root alone may read": { argv: ["generate", seededModel(), "--prompt-file", locked] },
  };
}
