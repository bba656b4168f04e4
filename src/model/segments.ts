/**
 * What a row's text is, as numbers of router/schema.ts's STANDARD_SEGMENTS. It follows from the row's own request, never from what
 * else is computed; which part of a prompt is a few-shot prefix ("prefix") only a caller knows.
 */
export const SEGMENT: Readonly<Record<"question" | "choice" | "generated", number>> = {
  question: 1,
  choice: 2,
  generated: 3,
};
