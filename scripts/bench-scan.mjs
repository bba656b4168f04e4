/**
 * How much a scan over all experts gains by sharing the layers below: the same log-likelihoods through plain variants and through
 * `sharedBelow`, layer by layer, with equal answers. node scripts/bench-scan.mjs [model] [questions]
 */
import { ablate, Model } from "../dist/src/index.js";

const [name = "demo", count = "24"] = process.argv.slice(2);
const model = await Model.load(name);
const { moeLayers, numExperts } = model.parts.shape;
const vocabulary = Math.min(model.config.vocabSize, 1000);
const ids = (length, seed) => Array.from({ length }, (_, i) => ((i + 1) * (seed * 7919 + 31)) % vocabulary);
const requests = Array.from({ length: Number(count) }, (_, question) => question).flatMap((question) =>
  [1, 2, 3, 4].map((choice) => ({
    contextIds: [...ids(64, 0), ...ids(64, question + 1)],
    continuationIds: [choice, 9, 4],
  })),
);
const seconds = { plain: 0, shared: 0 };
const timed = async (way, variant) => {
  const start = performance.now();
  const scores = await variant.loglikelihood(requests);
  seconds[way] += (performance.now() - start) / 1000;
  return JSON.stringify(scores.map(({ logprob }) => logprob));
};
for (const layer of moeLayers) {
  const base = layer === 0 ? model : model.sharedBelow(layer);
  for (let expert = 0; expert < numExperts; expert++) {
    const change = ablate({ layers: [layer], experts: [expert], mode: "zero" });
    const plain = await timed("plain", model.with(change));
    const shared = await timed("shared", base.with(change));
    if (plain !== shared) throw new Error(`layer ${layer}, expert ${expert}: other answers`);
  }
  if (base !== model) await base.dispose();
}
const tokens = requests.length * 130;
console.log(
  JSON.stringify({
    ...{ model: name, layers: moeLayers.length, numExperts, requests: requests.length, tokens },
    ...{ plainSeconds: seconds.plain, sharedSeconds: seconds.shared, speedup: seconds.plain / seconds.shared },
  }),
);
await model.dispose();
