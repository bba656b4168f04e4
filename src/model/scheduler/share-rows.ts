/** How the rows of one step are divided among the sequences that have something to compute. */

/** What one sequence could use. */
export interface Demand {
  /** Rows of its append that are not computed yet; at least one. */
  rows: number;
  /** Whether it waits for the token after a generated one, so that somebody reads along. */
  isDecode: boolean;
  /** When it was served last, a number of its own; -1 before the first time. */
  servedAt: number;
  /** Place in the order of arrival. */
  arrival: number;
}

/** A prompt's smallest share of a step: positions of a key/value page, so that pieces end where pages do. */
const QUANTUM = 64;

/**
 * Rows for those that are served now, in their order, `budget` in all at most. Generated tokens come first. Prompts share what is left,
 * those that waited longest first, in equal parts of at least QUANTUM rows; what short ones leave goes to the others in the same
 * order. So everybody is served within a number of steps that depends on the number of sequences alone, never on the length of a
 * neighbour's prompt.
 */
export function shareRows<T extends Demand>(demands: readonly T[], budget: number): { demand: T; rows: number }[] {
  const order = [...demands].sort((a, b) => a.servedAt - b.servedAt || a.arrival - b.arrival);
  const decodes = order.filter(({ isDecode }) => isDecode);
  const prompts = order.filter(({ isDecode }) => !isDecode);
  const shares = [...decodes, ...prompts].map((demand) => ({ demand, rows: 0 }));
  let left = budget;
  const give = (share: { demand: T; rows: number }, most: number) => {
    const part = Math.min(share.demand.rows - share.rows, most, left);
    share.rows += part;
    left -= part;
  };
  for (const share of shares.slice(0, decodes.length)) give(share, budget);
  const quantum = Math.max(QUANTUM, Math.floor(left / (prompts.length * QUANTUM || 1)) * QUANTUM);
  for (const most of [quantum, budget]) for (const share of shares.slice(decodes.length)) give(share, most);
  return shares.filter(({ rows }) => rows > 0);
}
