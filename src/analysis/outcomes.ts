/** Which documents were answered right: the scores of a run on the documents of its traces, by their common key. */

import { InvalidArgumentError } from "../errors.js";
import type { DocumentKey, RoutingAccumulator } from "./accumulator.js";
import { quantileOfSorted } from "./numbers.js";

/** One sample's verdict. `task` and `epoch` may be absent where sample ids are unique without them. */
export interface Outcome {
  task?: string;
  sampleId: string;
  epoch?: number;
  correct: boolean;
  /** What the sample is about; samples without one form a subject of their own. */
  subject?: string;
  /** Entropy of the model's answer, for the probe's baseline. */
  answerEntropy?: number;
}

/** An outcome, the number of its document, and the document's tokens. */
export interface JoinedOutcome extends Outcome {
  document: number;
  numTokens: number;
}

/**
 * The outcomes with their documents, in the order of task, sample and epoch. Shared prefixes belong to no sample and are passed over.
 *
 * @throws InvalidArgumentError for a sample without routes, routes without an outcome, or an ambiguous key: n never changes in silence.
 */
export function joinDocuments(routes: RoutingAccumulator, outcomes: readonly Outcome[]): JoinedOutcome[] {
  const withTask = outcomes.every((outcome) => outcome.task !== undefined);
  const nameOf = ({ task, sampleId, epoch }: DocumentKey | Outcome): string =>
    JSON.stringify([withTask ? task : undefined, sampleId, epoch ?? 0]);
  const documents = new Map<string, number>();
  for (const [document, key] of routes.documents.entries()) {
    if (key.sampleId === undefined) continue;
    const name = nameOf(key);
    if (documents.has(name)) throw new InvalidArgumentError(`Expected one document for sample ${name}, got several.`);
    documents.set(name, document);
  }
  const joined = outcomes.map((outcome) => {
    const document = documents.get(nameOf(outcome));
    if (document === undefined) {
      throw new InvalidArgumentError(
        `Expected routes of sample ${nameOf(outcome)}, the traces have none or it is scored twice.`,
      );
    }
    documents.delete(nameOf(outcome));
    return { ...outcome, document, numTokens: routes.tokensOfDocument[document]! };
  });
  const unscored = documents.keys().next();
  if (!unscored.done) throw new InvalidArgumentError(`Expected an outcome of sample ${unscored.value}, got none.`);
  const order = (a: string | undefined, b: string | undefined) => ((a ?? "") < (b ?? "") ? -1 : a === b ? 0 : 1);
  return joined.sort(
    (a, b) => order(a.task, b.task) || order(a.sampleId, b.sampleId) || (a.epoch ?? 0) - (b.epoch ?? 0),
  );
}

/** Strata of subject x length, "long" above the median number of tokens: longer samples route otherwise and are answered otherwise. */
export function subjectAndLength(joined: readonly JoinedOutcome[]): string[] {
  const lengths = Float64Array.from(joined, ({ numTokens }) => numTokens).sort();
  const median = quantileOfSorted(lengths, 0.5);
  return joined.map(({ subject = "", numTokens }) => `${subject}|${numTokens > median ? "long" : "short"}`);
}
