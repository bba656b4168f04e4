import { homedir } from "node:os";
import { join } from "node:path";

/** The folder for what can be fetched again: `$XDG_CACHE_HOME/moescope`, or `~/.cache/moescope`. */
export function userCacheFolder(...below: string[]): string {
  const { XDG_CACHE_HOME } = process.env;
  const cache = XDG_CACHE_HOME === undefined || XDG_CACHE_HOME === "" ? join(homedir(), ".cache") : XDG_CACHE_HOME;
  return join(cache, "moescope", ...below);
}
