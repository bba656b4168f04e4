/** What a user calls a model, as a path. */
import { join } from "node:path";
import { packageRoot } from "../native/addon.js";

/** "demo" is the embedded model; anything else is a path. */
export function resolveModel(name: string): string {
  return name === "demo" ? join(packageRoot(), "models", "demo") : name;
}
