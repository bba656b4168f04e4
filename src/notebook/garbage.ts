/** The compiler's garbage, collected between cells: V8 by itself lets it lie while a machine is quick enough to make more. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");

/** A full collection: some 100 ms in which nothing else runs. */
export const collectGarbage: () => void = runInNewContext("gc") as () => void;
