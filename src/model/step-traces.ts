/** The traces of a step, one for each of its segments. */
import type { CaptureLevel, StepResult, StepSegment } from "../native/binding.js";
import type { TraceMetadata } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";

/**
 * What a row's text is, as numbers of router/schema.ts's STANDARD_SEGMENTS. It follows from the row's own request, never from what
 * else is computed; which part of a prompt is a few-shot prefix ("prefix") only a caller knows.
 */
export const SEGMENT: Readonly<Record<"question" | "choice" | "generated", number>> = {
  question: 1,
  choice: 2,
  generated: 3,
};

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
