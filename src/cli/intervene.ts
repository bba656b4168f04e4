/** `--intervene`: changes to routing from a JSON file or from JSON itself. */
import { readFile } from "node:fs/promises";
import { fromSystemError, InvalidArgumentError } from "../errors.js";
import { type Intervention, parseInterventions, resolveRoutes } from "../router/interventions.js";
import { loadTrace } from "../router/trace-files.js";

/** The interventions that the option names, routes of replays loaded. Throws INVALID_ARGUMENT naming object and field. */
export async function interventionsOf(option: string): Promise<Intervention[]> {
  const isJson = /^\s*[[{]/.test(option);
  const source = isJson ? "--intervene" : option;
  const text = isJson
    ? option
    : await readFile(option, "utf8").catch((error) => {
        throw fromSystemError(error, `read the interventions ${option}`);
      });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidArgumentError(`Expected JSON in ${source}: ${(cause as Error).message}.`, { cause });
  }
  return resolveRoutes(parseInterventions(value, source), async (file) => (await loadTrace(file)).route());
}
