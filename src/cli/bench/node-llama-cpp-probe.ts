#!/usr/bin/env node
/** One work of node-llama-cpp in a process of its own, given as JSON; prints what it took as JSON. */
import { RandomTokens } from "./contender.js";

interface Request {
  /** URL of its entry. */
  entry: string;
  modelPath: string;
  vocabSize: number;
  threads: number;
  kind: "load" | "decode" | "prefill";
  size: number;
}

/** The part of its API that is used here. */
interface NodeLlama {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{ createContext(options: object): Promise<{ getSequence(): Sequence }> }>;
  }>;
}

interface Sequence {
  evaluate(tokens: number[], options: object): AsyncGenerator<number>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
}

async function probe({ entry, modelPath, vocabSize, threads, kind, size }: Request): Promise<object> {
  const { getLlama } = (await import(entry)) as NodeLlama;
  const start = performance.now();
  const llama = await getLlama({ build: "never", gpu: false, maxThreads: threads, logLevel: "error" });
  const model = await llama.loadModel({ modelPath });
  const loadSeconds = (performance.now() - start) / 1000;
  const context = await model.createContext({ contextSize: size + 64, batchSize: 512, threads });
  const sequence = context.getSequence();
  const tokens = new RandomTokens(vocabSize, 1);
  if (kind === "prefill") {
    const warmUp = tokens.take(16);
    await sequence.evaluateWithoutGeneratingNewTokens(warmUp);
    const begin = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(tokens.take(size));
    return { tokensPerSecond: (1000 * size) / (performance.now() - begin) };
  }
  let count = 0;
  let first = 0;
  for await (const _ of sequence.evaluate(tokens.take(kind === "load" ? 3 : 1), { temperature: 0 })) {
    if (count++ === 0) first = performance.now();
    if (count > (kind === "load" ? 0 : size)) break;
  }
  return { loadSeconds, tokensPerSecond: (1000 * (count - 1)) / Math.max(1e-9, performance.now() - first) };
}

probe(JSON.parse(process.argv[2]!)).then(
  (answer) => {
    process.stdout.write(`\n${JSON.stringify(answer)}\n`);
    process.exit(0); // its threads would keep the process
  },
  (error) => {
    process.stderr.write(String(error));
    process.exit(1);
  },
);
