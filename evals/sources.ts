import type { DatasetSource } from "../src/index.js";

/**
 * Where the benchmarks' files are. Each is pinned by the SHA-256 of its content, so it is the same whoever serves it; `main` of the hub is
 * a branch, and the commit that it was is kept beside the files. None of them may be passed on by us: they are fetched by who uses them.
 */

const GSM8K_AUTHORS =
  "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data";
const HUMANEVAL_AUTHORS =
  "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data";

const MMLU_FROM = [
  { repo: "cais/mmlu", revision: "main", file: "data.tar" },
  { url: "https://people.eecs.berkeley.edu/~hendrycks/data.tar" },
] as const;

export const DATASET_SOURCES: Readonly<Record<string, DatasetSource>> = {
  mmlu: {
    title: "MMLU",
    licence: "MIT",
    parts: [
      {
        path: "mmlu/test",
        folder: "data/test",
        sha256: "fa58faff5210aee66e8791f191a56016fa3d33be6b7f484a1463ae5984b834e0",
        from: MMLU_FROM,
      },
      {
        path: "mmlu/dev",
        folder: "data/dev",
        sha256: "5341385bab1e0d1f1dc74b7a2742efc5413b279a2759e69930bf1a359d8090e5",
        from: MMLU_FROM,
      },
    ],
  },
  gsm8k: {
    title: "GSM8K",
    licence: "MIT",
    parts: [
      gsm8kPart("test", "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"),
      gsm8kPart("train", "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465"),
    ],
  },
  humaneval: {
    title: "HumanEval",
    licence: "MIT",
    parts: [
      {
        path: "humaneval/HumanEval.jsonl.gz",
        // Of the 214,438 bytes inside.
        sha256: "1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
        from: [
          { url: `${HUMANEVAL_AUTHORS}/HumanEval.jsonl.gz` },
          {
            repo: "openai/openai_humaneval",
            revision: "main",
            file: "openai_humaneval/test-00000-of-00001.parquet",
            jsonlOf: ["task_id", "prompt", "entry_point", "canonical_solution", "test"],
          },
        ],
      },
    ],
  },
  ceval: {
    title: "C-Eval",
    licence: "CC BY-NC-SA 4.0: attribution, not for commerce, share alike",
    parts: [
      {
        path: "ceval/ceval-exam.zip",
        // The archive of July 2023, without the answers of `test`.
        sha256: "b28bc560b655dc3c0ff05b20648b5ef8caed732bdaa8918e66fe5f3a1c711c52",
        from: [{ repo: "ceval/ceval-exam", revision: "main", file: "ceval-exam.zip" }],
      },
    ],
  },
};

function gsm8kPart(split: "test" | "train", sha256: string): DatasetSource["parts"][number] {
  const jsonlOf = ["question", "answer"];
  return {
    path: `gsm8k/${split}.jsonl`,
    sha256,
    from: [
      { repo: "openai/gsm8k", revision: "main", file: `main/${split}-00000-of-00001.parquet`, jsonlOf },
      { url: `${GSM8K_AUTHORS}/${split}.jsonl` },
    ],
  };
}
