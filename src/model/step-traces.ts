/** The traces of a step, one for each of its segments. */
import type { CaptureLevel, StepResult, StepSegment } from "../native/binding.js";
import type { TraceMetadata } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";

/** Views of the step's arrays; nothing at level `counts`. `firstPositions[i]` is that of segment i's first token. */
export function tracesOf(
  result: StepResult,
  segments: readonly StepSegment[],
  firstPositions: readonly number[],
  metadata: TraceMetadata,
  level: CaptureLevel,
): RouterTrace[] {
  if (result.trace === undefined || level === "counts") return [];
  const runs = segments.map(({ tokenIds, origin, segment }, index) => {
    return { tokenIds, origin, segment, firstPosition: firstPositions[index]! };
  });
  const whole = RouterTrace.fromStep(result.trace, runs, { metadata, level });
  let row = 0;
  return runs.map(({ tokenIds }) => {
    const start = row;
    row += tokenIds.length;
    return whole.slice(start, row).withKey({});
  });
}
