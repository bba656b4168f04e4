import { GREEDY, type LanguageModel, type LoadedTask, scriptedModel, type Task } from "../../src/index.js";

/** An invented benchmark of sums, in groups of unequal size: it needs no data, and its right answers are known. */

export interface ToyOptions {
  size?: number;
  version?: string;
  kind?: "loglikelihood" | "generate";
}

export function toyTask({ size = 40, version = "1", kind = "loglikelihood" }: ToyOptions = {}): Task<number> {
  const loaded: LoadedTask<number> = {
    dataset: { name: "toy", licence: "none", source: "test", split: "test", files: [], rows: size },
    samples: Array.from({ length: size }, (_, i) => {
      return {
        id: String(i),
        group: i % 5 === 0 ? "fives" : "others",
        input: `${i} + 1`,
        target: String(i + 1),
        doc: i,
      };
    }),
    groups: { name: "toy", children: [{ name: "fives" }, { name: "others" }] },
    requests: ({ doc }) =>
      kind === "loglikelihood"
        ? [0, 1].map((plus) => ({ kind, context: `${doc} + 1 =`, continuation: ` ${doc + plus}` }))
        : [{ kind, prompt: `${doc} + 1 =`, stop: ["\n"], maxTokens: 4, sampling: GREEDY }],
    score: ({ target }, [first, second]) => {
      if (first?.kind === "loglikelihood" && second?.kind === "loglikelihood") {
        return {
          acc: {
            value: second.logprob > first.logprob ? 1 : 0,
            answer: second.logprob > first.logprob ? "plus" : "same",
          },
        };
      }
      const text = first?.kind === "generate" ? first.text.trim() : "";
      return { acc: { value: text === target ? 1 : 0, answer: text === "" ? null : text } };
    },
  };
  return {
    name: "toy",
    track: "ref",
    version,
    settings: { size },
    metrics: [{ name: "acc", scorer: "acc", average: "micro" }],
    load: async () => loaded,
  };
}

/** Right except where the sum is a multiple of `wrongAt`. */
export function toyModel(wrongAt: number = 3): LanguageModel {
  return scriptedModel({
    name: "toy-model",
    loglikelihood: ({ context, continuation }) => {
      const sum = Number.parseInt(String(context), 10) + 1;
      const isRight = Number(continuation) === sum;
      return isRight === (sum % wrongAt !== 0) ? -0.25 : -1.75;
    },
    generate: ({ prompt }) => {
      const sum = Number.parseInt(prompt, 10) + 1;
      return sum % wrongAt === 0 ? "" : ` ${sum}`;
    },
  });
}
