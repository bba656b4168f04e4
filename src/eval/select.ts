import { invalidArgument } from "../errors.js";
import type { Sample } from "./task.js";

/** Which samples of a benchmark to run. */
export interface Selection {
  /** At most this many samples: spread evenly over the groups, the first ones of each. */
  limit?: number;
  /** Exactly the samples with these ids. */
  sampleIds?: readonly string[];
}

/**
 * The selected samples, in dataset order.
 *
 * @throws InvalidArgumentError for a limit below 1 or an id that the dataset does not have.
 */
export function selectSamples<Doc>(samples: readonly Sample<Doc>[], selection: Selection): readonly Sample<Doc>[] {
  const { limit, sampleIds } = selection;
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 1)) {
    throw invalidArgument("limit", "a whole number of samples, at least 1", limit);
  }
  const chosen = sampleIds === undefined ? samples : samplesById(samples, sampleIds);
  return limit === undefined || limit >= chosen.length ? chosen : spread(chosen, limit);
}

function samplesById<Doc>(samples: readonly Sample<Doc>[], ids: readonly string[]): Sample<Doc>[] {
  const wanted = new Set(ids);
  const found = samples.filter((sample) => wanted.delete(sample.id));
  const unknown = [...wanted][0];
  if (unknown !== undefined) throw invalidArgument("sampleIds", `ids such as "${samples[0]?.id}"`, unknown);
  return found;
}

/** Takes one sample of each group in turn until there are `limit`. */
function spread<Doc>(samples: readonly Sample<Doc>[], limit: number): Sample<Doc>[] {
  const groups = new Map<string, number[]>();
  samples.forEach((sample, i) => {
    const group = groups.get(sample.group);
    if (group === undefined) groups.set(sample.group, [i]);
    else group.push(i);
  });
  const taken: number[] = [];
  for (let round = 0; taken.length < limit; round++) {
    for (const group of groups.values()) {
      const index = group[round];
      if (index !== undefined && taken.length < limit) taken.push(index);
    }
  }
  return taken.sort((a, b) => a - b).map((i) => samples[i]!);
}
