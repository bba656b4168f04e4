import { slowRun, tracedRun } from "./killed-run.js";

/** The main module of the process that is killed: the run goes on while it is being imported, and the importer says when it is done. */
console.log("begun");
await (process.env.MOESCOPE_TEST_KIND === "slow" ? slowRun() : tracedRun());
