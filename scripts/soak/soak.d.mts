/** See soak.mjs. */
export interface SoakTally {
  answered: number;
  cancelled: number;
  residentMiB: number[];
  mostActive: number;
}
export function soak(
  model: unknown,
  options: { seconds: number; seed: number; onProgress?: (tally: SoakTally & { tenth: number }) => void },
): Promise<SoakTally>;
