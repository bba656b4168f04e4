/** What `quantize` writes means to llama.cpp and to transformers what it means to us: tokens, and probabilities at every place. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "simple-statistics";
import { afterAll, describe, expect, it } from "vitest";
import { resolveModel } from "../../src/hub/resolve.js";
import { Model } from "../../src/model/model.js";
import { quantizeModel } from "../../src/quantize/quantize.js";
import { nodeLlama, type Peer, type PeerRows, transformers } from "./peers/peers.js";

const TYPES = ["BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0"] as const;
const TEXT = "What is the capital of France?\ndef double(x):\n    return x * 2\n法国的首都是哪里？";
const folder = mkdtempSync(join(tmpdir(), "moescope-peers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const files = new Map<string, Promise<string>>();

/** The demo model in a file of this type, written once. */
function written(type: (typeof TYPES)[number]): Promise<string> {
  const known = files.get(type);
  if (known !== undefined) return known;
  const path = join(folder, `demo-${type}.gguf`);
  const made = quantizeModel(resolveModel("demo"), path, { type }).then(() => path);
  files.set(type, made);
  return made;
}

/** Our own rows for a file, in `ref`. */
async function ours(path: string): Promise<PeerRows> {
  const model = await Model.load(path, { threads: 1 });
  try {
    const ids = [...(await model.tokenizer.encode(TEXT))];
    const { logits } = await model.forward(ids, { logits: "all" });
    const size = logits.length / ids.length;
    return { ids, logprobs: ids.map((_, row) => logSoftmax(logits.subarray(row * size, (row + 1) * size))) };
  } finally {
    await model.dispose();
  }
}

function logSoftmax(logits: Float32Array): number[] {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, z) => total + Math.exp(z - largest), 0);
  return Array.from(logits, (z) => z - largest - Math.log(sum));
}

/** KL(a || b), the median of the rows, in nats: a row where rounding makes the router choose another expert may lie far off. */
function medianKl(a: number[][], b: number[][]): number {
  const rows = a.map((row, at) => row.reduce((sum, p, id) => sum + Math.exp(p) * (p - b[at]![id]!), 0));
  return rows.some(Number.isNaN) ? Number.NaN : median(rows);
}

function describeWithPeer(name: string, peer: Peer, check: (ours: PeerRows, theirs: PeerRows) => void): void {
  describe(name, () => {
    if ("reason" in peer) {
      it("needs the peer", (context) => context.skip(peer.reason));
      return;
    }
    it.each(TYPES)("reads %s", async (type) => {
      const path = await written(type);
      check(await ours(path), peer.run(path, TEXT));
    });
  });
}

// Both dequantise to the same fp32 weights and compute in fp32; sums differ in their order only: some 1e-6 of a logit's size,
// a few dozen of them. 1e-3 of a nat is far above that and far below any change of a weight.
describeWithPeer("transformers", transformers(resolveModel("demo")), (mine, theirs) => {
  expect(theirs.ids).toEqual(mine.ids);
  for (const [row, logprobs] of mine.logprobs.entries()) {
    for (const [id, logprob] of logprobs.entries()) {
      const difference = Math.abs(logprob - theirs.logprobs[row]![id]!);
      if (!(difference <= 1e-3))
        throw new Error(`row ${row}, token ${id}: ${logprob} here, ${theirs.logprobs[row]![id]}`);
    }
  }
});

// llama.cpp rounds activations to 8 bits, one scale for 32 or 256 of them: about 1 % of each product's size at random, which
// is 1e-3 nats or less on this model. A tensor that is read wrongly costs whole nats.
describeWithPeer("llama.cpp", nodeLlama(), (mine, theirs) => {
  expect(theirs.ids).toEqual(mine.ids);
  const kl = medianKl(mine.logprobs, theirs.logprobs);
  if (!(kl <= 0.01)) throw new Error(`median KL ${kl}`);
});
